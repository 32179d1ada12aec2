// The interpreter of the programs of a cell: each instruction works on whole rows of units, of several rows of the batch, so
// that its dispatch takes little beside its work.

#pragma once

#include <cmath>
#include <limits>
#include "cell_call.h"
#include "dropout.h"
#include "rows.h"

namespace {

// The order of `OPS` in cells/plan.py.
enum class Op : int32_t {
    move, fma, add, sub, mul, div, neg, sigmoid, tanh, relu, exp, log, softplus, sqrt, abs, max, min, normalize, dropout,
    sigmoid_grad, tanh_grad, relu_grad, abs_grad, pick, normalize_grad, dropout_grad, dropout_bypass, accumulate,
};

// The order of `Place` in cells/plan.py.
enum Place : int32_t { in_register, in_slot, before_step, after_step, vector, carry, carried, grad_output, grad_sum, grad_operand, grad_vector, spill };

int64_t slot_row(const CellCall& call) { return call.slots * call.P + ceil_div(call.scalars, 16) * 16; }

// The states after step t - 1, [B, P].
INLINE float* history(const CellCall& call, int64_t state, int64_t t) {
    const int64_t entry = call.saving || state == 0 ? t : t % 2;
    return call.history[state] + entry * call.base.B * call.P;
}

// Functions on N vectors -----------------------------------------------------------------------------------------------

template <int N>
INLINE void exp_of_each(vec (&z)[N]) {
    vec clamped[N];
    Exponential e[N];
    EACH(N) clamped[n] = clamp(z[n], -87.0f, 88.7f);
    exponentials(clamped, e);
    EACH(N) {
        const vec half = (vec)((uvec)e[n].scale - 0x00800000u);  // the scale itself would overflow from 88.4 on
        const vec value = (half * e[n].p + half) * 2.0f;
        const vec large = z[n] > broadcast(88.72f) ? broadcast(std::numeric_limits<float>::infinity()) : value;
        z[n] = z[n] < broadcast(-87.0f) ? vec{} : large;
    }
}

// log(x) by the polynomial of Cephes, on the mantissa between sqrt(1/2) and sqrt(2).
INLINE vec log_of(vec x) {
    const uvec bits = (uvec)x;
    uvec exponent = (bits >> 23) - 126u;
    vec m = (vec)((bits & 0x007fffffu) | 0x3f000000u);  // [0.5, 1)
    exponent += (uvec)(m < broadcast(0.707106781f));  // - 1 where it is
    m = (m < broadcast(0.707106781f) ? m + m : m) - 1.0f;
    vec e;
    for (int v = 0; v < V; ++v) e[v] = static_cast<float>(static_cast<int32_t>(exponent[v]));
    const vec m2 = m * m;
    vec p = m * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    vec y = p * m * m2 - e * 2.12194440e-4f - 0.5f * m2;
    y = m + y + e * 0.693359375f;
    constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    y = x > broadcast(3.4e38f) ? x : y;
    y = x < broadcast(1.17549435e-38f) ? broadcast(-inf) : y;
    return x >= vec{} ? y : broadcast(nan);
}

template <int N>
INLINE void sigmoid_of_each(vec (&z)[N]) {
    Exponential e[N];
    EACH(N) z[n] = sigmoid_argument(z[n]);
    exponentials(z, e);
    if constexpr (N == 1)
        z[0] = divide(sigmoid(e[0]));
    else
        for (int n = 0; n < N; n += 2) divide(sigmoid(e[n]), sigmoid(e[n + 1]), z[n], z[n + 1]);
}

template <int N>
INLINE void tanh_of_pairs(vec (&z)[N]) {
    if constexpr (N == 1) return tanh_of_each(z);
    Exponential e[N];
    EACH(N) z[n] = tanh_argument(z[n]);
    exponentials(z, e);
    for (int n = 0; n + 1 < N; n += 2) divide(tanh(e[n]), tanh(e[n + 1]), z[n], z[n + 1]);
}

// log(1 + exp(z)) = max(z, 0) + log(1 + u), u = exp(-|z|); the rounding of 1 + u is undone by u / ((1 + u) - 1).
template <int N>
INLINE void softplus_of_each(vec (&z)[N]) {
    vec u[N];
    EACH(N) u[n] = (vec)((uvec)z[n] | 0x80000000u);
    exp_of_each(u);
    EACH(N) {
        const vec w = u[n] + 1.0f, rest = w - 1.0f;
        const vec log1p = rest == vec{} ? u[n] : log_of(w) * (u[n] / rest);
        z[n] = (z[n] > vec{} ? z[n] : z[n] == z[n] ? vec{} : z[n]) + log1p;
    }
}

INLINE vec sqrt_of(vec x) {
    for (int v = 0; v < V; ++v) x[v] = __builtin_sqrtf(x[v]);
    return x;
}

// Programs ---------------------------------------------------------------------------------------------------------------

// What a thread works with: its rows and buffers. A block of at most `block` rows is interpreted at a time.
struct Machine {
    const CellCall& call;
    const Dropout& dropout;
    const Rows& rows;
    const int64_t P, H, B, block;
    Buffer registers, slots, spills, operand_gradients, zeros;
    float* grad_vectors = nullptr;
    int64_t t = 0, active = 0;

    Machine(const CellCall& call, const Dropout& dropout, const Rows& rows)
        : call(call), dropout(dropout), rows(rows), P(call.P), H(call.base.H), B(call.base.B), block(std::max<int64_t>(1, std::min<int64_t>(1024 / call.P, 32))),
          registers(call.registers * block * call.P), slots(call.saving ? 0 : rows.size() * slot_row(call)), spills(rows.size() * call.spills * call.P),
          operand_gradients(rows.size() * call.operand_gradients * call.P), zeros(call.P) {
        std::fill(zeros.data, zeros.data + P, 0.0f);
    }

    // The address of an operand in rows m of the block from `first`: base + m * stride, of rows b of the batch if `by_row`.
    struct Operand {
        float* base;
        int64_t stride;
        const int64_t* by_row;
        float* row(int64_t m) const { return base + (by_row ? by_row[m] : m) * stride; }
    };
    Operand operand(int32_t code, int64_t first) const {
        const int64_t index = code & 65535;
        const int64_t* const by_row = &rows.rows[first];
        const auto local = [&](const Buffer& buffer, int64_t stride) { return Operand{buffer.data + first * stride + index * P, stride, nullptr}; };
        switch (code >> 16) {
            case in_register: return {registers.data + index * block * P, P, nullptr};
            case in_slot:
                if (!call.saving) return local(slots, slot_row(call));
                return {call.slot + t * B * slot_row(call) + index * P, slot_row(call), by_row};
            case before_step: return {history(call, index, t), P, by_row};
            case after_step: return {history(call, index, t + 1), P, by_row};
            case vector: return {const_cast<float*>(call.vector) + index * P, 0, nullptr};
            case carry: return {gradient(index, t + 1), P, by_row};
            case carried: return {gradient(index, t), P, by_row};
            case grad_output:
                if (!call.grad_output) return {zeros.data, 0, nullptr};
                return {const_cast<float*>(call.grad_output) + t * B * P, P, by_row};
            case grad_sum: return {call.grad_sums + (t - call.base.begin) * B * call.sums * P + index * P, call.sums * P, by_row};
            case grad_operand: return local(operand_gradients, call.operand_gradients * P);
            case grad_vector: return {grad_vectors + index * P, 0, nullptr};
            default: return local(spills, call.spills * P);
        }
    }
    // The gradient of a state before step t, [B, P].
    float* gradient(int64_t state, int64_t t) const { return call.carry[state] + t % 2 * B * P; }
    float* scalar(int64_t index, int64_t first, int64_t m) const {
        return operand(in_slot << 16, first).row(m) + call.slots * P + index;
    }

    void run(const int32_t* program, const int32_t* end) const {
        for (int64_t first = 0; first < active; first += block)
            for (const int32_t* i = program; i < end; i += 6) execute(i, first, std::min(block, active - first));
    }

private:
    // target = f(a, b, c), for each vector of units.
    template <int inputs, class F>
    INLINE void each(const int32_t* i, int64_t first, int64_t count, const F& f) const {
        const Operand target = operand(i[1], first), a = operand(i[2], first), b = operand(inputs > 1 ? i[3] : 0, first), c = operand(inputs > 2 ? i[4] : 0, first);
        for (int64_t m = 0; m < count; ++m) {
            float* const to = target.row(m);
            const float *const from_a = a.row(m), *const from_b = b.row(m), *const from_c = c.row(m);
#pragma GCC unroll 4
            for (int64_t j = 0; j < P; j += V) {
                const vec x = load(from_a + j), y = inputs > 1 ? load(from_b + j) : vec{}, z = inputs > 2 ? load(from_c + j) : vec{};
                store(to + j, f(x, y, z));
            }
        }
    }
    // target = f(a) of 4 vectors at a time, which may share divisions; but for padded units, which may be NaN.
    template <class F>
    INLINE void function(const int32_t* i, int64_t first, int64_t count, const F& f) const {
        const Operand target = operand(i[1], first), a = operand(i[2], first);
        for (int64_t m = 0; m < count; ++m) {
            float* const to = target.row(m);
            const float* const from = a.row(m);
            int64_t j = 0;
            for (; j + 4 * V <= H; j += 4 * V) {
                vec z[4];
                EACH(4) z[n] = load(from + j + n * V);
                f(z);
                EACH(4) store(to + j + n * V, z[n]);
            }
            for (; j < P; j += V) {
                vec z[1] = {load(from + j)};
                f(z);
                store(to + j, z[0]);
            }
        }
    }
    template <class F>
    INLINE void masked(const int32_t* i, int64_t first, int64_t count, const F& f) const {
        const Operand target = operand(i[1], first), a = operand(i[2], first), b = operand(i[3], first);
        for (int64_t m = 0; m < count; ++m) {
            const int64_t step = call.base.reverse ? rows.lengths[first + m] - 1 - t : t;  // of the sequence that is read backward
            const uint64_t key = dropout.key(step, rows.rows[first + m]);
            for (int64_t j = 0; j < P; j += V) store(target.row(m) + j, f(load(a.row(m) + j), load(b.row(m) + j), dropout.mask(key, j)));
        }
    }
    // The mean of f(j, n) over the H units, n of which from j on count.
    template <class F>
    INLINE float mean(const F& f) const {
        vec sum = {};
        for (int64_t j = 0; j < H; j += V) sum += f(j, static_cast<int>(std::min<int64_t>(V, H - j)));
        float total = 0.0f;
        for (int v = 0; v < V; ++v) total += sum[v];
        return total / static_cast<float>(H);
    }
    static INLINE vec first_of(vec value, int n) {  // 0 beyond n
        float numbers[V];
        store(numbers, value);
        return load(numbers, n);
    }
    void normalize(const int32_t* i, int64_t first, int64_t count) const {
        const Operand target = operand(i[1], first), a = operand(i[2], first);
        for (int64_t m = 0; m < count; ++m) {
            const float* const v = a.row(m);
            float* const to = target.row(m);
            const float center = mean([&](int64_t j, int n) { return load(v + j, n); });
            const float variance = mean([&](int64_t j, int n) {
                const vec d = load(v + j, n) - center;
                return n == V ? d * d : first_of(d * d, n);
            });
            const float scale = 1.0f / std::sqrt(variance + 1e-5f);
            *scalar(i[5], first, m) = scale;
            for (int64_t j = 0; j < P; j += V) store(to + j, (load(v + j) - center) * scale);
        }
    }
    void normalize_grad(const int32_t* i, int64_t first, int64_t count) const {
        const Operand target = operand(i[1], first), a = operand(i[2], first), b = operand(i[3], first);
        for (int64_t m = 0; m < count; ++m) {
            const float *const g = a.row(m), *const y = b.row(m);
            const float mean_g = mean([&](int64_t j, int n) { return load(g + j, n); });
            const float mean_gy = mean([&](int64_t j, int n) { return load(g + j, n) * load(y + j, n); });
            const float scale = *scalar(i[5], first, m);
            for (int64_t j = 0; j < P; j += V) store(target.row(m) + j, (load(g + j) - mean_g - load(y + j) * mean_gy) * scale);
        }
    }
    void accumulate(const int32_t* i, int64_t first, int64_t count) const {
        const Operand target = operand(i[1], first), a = operand(i[2], first);
        for (int64_t j = 0; j < P; j += V) {
            vec sum = load(target.base + j);
            for (int64_t m = 0; m < count; ++m) sum += load(a.row(m) + j);
            store(target.base + j, sum);
        }
    }

    void execute(const int32_t* i, int64_t first, int64_t count) const {
        const auto unary = [&](const auto& f) { each<1>(i, first, count, [&](vec a, vec, vec) { return f(a); }); };
        const auto binary = [&](const auto& f) { each<2>(i, first, count, [&](vec a, vec b, vec) { return f(a, b); }); };
        switch (static_cast<Op>(i[0])) {
            case Op::move: unary([](vec a) { return a; }); break;
            case Op::add: binary([](vec a, vec b) { return a + b; }); break;
            case Op::sub: binary([](vec a, vec b) { return a - b; }); break;
            case Op::mul: binary([](vec a, vec b) { return a * b; }); break;
            case Op::div: binary([](vec a, vec b) { return a / b; }); break;
            case Op::neg: unary([](vec a) { return -a; }); break;
            case Op::fma: each<3>(i, first, count, [](vec a, vec b, vec c) { return a * b + c; }); break;
            case Op::sigmoid: function(i, first, count, [](auto& z) { sigmoid_of_each(z); }); break;
            case Op::tanh: function(i, first, count, [](auto& z) { tanh_of_pairs(z); }); break;
            case Op::exp: function(i, first, count, [](auto& z) { exp_of_each(z); }); break;
            case Op::softplus: function(i, first, count, [](auto& z) { softplus_of_each(z); }); break;
            case Op::log: unary([](vec a) { return log_of(a); }); break;
            case Op::relu: unary([](vec a) { return a > vec{} ? a : a == a ? vec{} : a; }); break;
            case Op::sqrt: unary([](vec a) { return sqrt_of(a); }); break;
            case Op::abs: unary([](vec a) { return (vec)((uvec)a & 0x7fffffffu); }); break;
            case Op::max: binary([](vec a, vec b) { return a > b ? a : a == a ? b : a; }); break;
            case Op::min: binary([](vec a, vec b) { return a < b ? a : a == a ? b : a; }); break;
            case Op::normalize: normalize(i, first, count); break;
            case Op::dropout:
                if (dropout.kind >= zoneout)
                    masked(i, first, count, [](vec h, vec before, vec mask) { return mask * h + (1.0f - mask) * before; });
                else
                    masked(i, first, count, [](vec h, vec, vec mask) { return mask * h; });
                break;
            case Op::dropout_grad: masked(i, first, count, [](vec g, vec, vec mask) { return mask * g; }); break;
            case Op::dropout_bypass: masked(i, first, count, [](vec g, vec, vec mask) { return (1.0f - mask) * g; }); break;
            case Op::sigmoid_grad: binary([](vec g, vec y) { return g * y * (1.0f - y); }); break;
            case Op::tanh_grad: binary([](vec g, vec y) { return g * (1.0f - y * y); }); break;
            case Op::relu_grad: binary([](vec g, vec y) { return y > vec{} ? g : vec{}; }); break;
            case Op::abs_grad: binary([](vec g, vec a) { return a > vec{} ? g : a < vec{} ? -g : vec{}; }); break;
            case Op::pick: each<3>(i, first, count, [](vec g, vec a, vec b) { return a > b ? g : a == b ? 0.5f * g : vec{}; }); break;
            case Op::normalize_grad: normalize_grad(i, first, count); break;
            case Op::accumulate: accumulate(i, first, count); break;
        }
        if (i[1] >> 16 == grad_sum && P != H) {  // padded units, which may be anything, must not enter products
            const Operand target = operand(i[1], first);
            for (int64_t m = 0; m < count; ++m) std::fill(target.row(m) + H, target.row(m) + P, 0.0f);
        }
    }
};

}  // namespace
