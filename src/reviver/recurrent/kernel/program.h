// The interpreter of the programs of a cell. A program runs on four vectors of units at a time, whose value stays in registers
// from one instruction to the next: an instruction takes the result of the last one, or loads its first operand, and multiplies
// it by its factor, if it has one; then it computes, stores the result, and adds it to a vector of gradients.

#pragma once

#include <cmath>
#include <limits>
#include "call.h"
#include "dropout.h"
#include "rows.h"

namespace {

// The order of `OPS` in instructions.py.
enum class Op : int32_t {
    move, fma, add, sub, mul, div, neg, sigmoid, tanh, relu, exp, log, softplus, sqrt, abs, max, min, normalize, dropout,
    sigmoid_grad, tanh_grad, relu_grad, abs_grad, pick, normalize_grad, dropout_grad, dropout_bypass, add_product,
    subtract_from, divide_into,
};

// The order of `Place` in instructions.py.
enum Place : int32_t { in_register, in_slot, before_step, after_step, vector, carry, carried, grad_output, grad_sum, grad_operand, grad_vector, spill };

int64_t slot_row(const Call& call) { return call.plan->slots * call.P + ceil_div(call.plan->scalars, 16) * 16; }

// A state after step t, [B, P].
INLINE float* history(const Call& call, int64_t state, int64_t t) {
    return call.history[state] + (call.saving || state == 0 ? t : t & 1) * call.B * call.P;
}
// Whether step t is the first one of a sequence that the states are saved for, and the step before and after t in the order of
// the pass.
INLINE bool is_first(const Call& call, int64_t t, int64_t length) { return call.reverse ? t + 1 == std::min(length, call.saved_end) : t == call.saved_begin; }
INLINE int64_t previous(const Call& call, int64_t t) { return call.reverse ? t + 1 : t - 1; }

// The vectors of a cell, rows of P floats: the learned ones, then numbers.
std::vector<float> table_of(const Call& call) {
    const Plan& plan = *call.plan;
    std::vector<float> table((plan.vectors + plan.numbers) * call.P);
    for (int64_t k = 0; k < plan.vectors; ++k)
        for (int64_t j = 0; j < call.P; ++j) {
            const int32_t* const from = plan.vector + 4 * k;
            const auto part = [&](int32_t tensor, int32_t block) { return tensor < 0 || j >= call.H ? 0.0f : call.weights[tensor][block * call.H + j]; };
            table[k * call.P + j] = part(from[0], from[1]) + part(from[2], from[3]);
        }
    for (int64_t k = 0; k < plan.numbers; ++k) std::fill_n(table.data() + (plan.vectors + k) * call.P, call.P, plan.number[k]);
    return table;
}
const float* matrix_of(const Call& call, const int32_t* source, int64_t columns) {
    return source[0] < 0 ? nullptr : call.weights[source[0]] + source[1] * call.H * columns;
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

// Two vectors share a division if `in_pairs`: those of a row, whose results so do not depend on other rows.
template <bool in_pairs, int N>
INLINE void sigmoid_of_each(vec (&z)[N]) {
    Exponential e[N];
    EACH(N) z[n] = sigmoid_argument(z[n]);
    exponentials(z, e);
    if constexpr (in_pairs)
        for (int n = 0; n < N; n += 2) divide(sigmoid(e[n]), sigmoid(e[n + 1]), z[n], z[n + 1]);
    else
        EACH(N) z[n] = divide(sigmoid(e[n]));
}

template <bool in_pairs, int N>
INLINE void tanh_of_each(vec (&z)[N]) {
    Exponential e[N];
    EACH(N) z[n] = tanh_argument(z[n]);
    exponentials(z, e);
    if constexpr (in_pairs)
        for (int n = 0; n < N; n += 2) divide(tanh(e[n]), tanh(e[n + 1]), z[n], z[n + 1]);
    else
        EACH(N) z[n] = divide(tanh(e[n]));
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

// The code of a segment: instructions, and the places of their operands.
struct Code {
    const int32_t *begin, *end, *places, *places_end;
    Code(const int32_t* instructions, const int32_t* ends, const int32_t* places, const int32_t* places_ends, int64_t segment)
        : begin(instructions + 8 * (segment ? ends[segment - 1] : 0)), end(instructions + 8 * ends[segment]),
          places(places + (segment ? places_ends[segment - 1] : 0)), places_end(this->places - (segment ? places_ends[segment - 1] : 0) + places_ends[segment]) {}
};

// What a thread works with: its rows and buffers.
struct Machine {
    // The rows of an operand: base + b * by_batch + r * by_thread for row b of the batch, r of the thread. At an edge, the first
    // step that states are saved for, or the first or last one of a sequence, they are at edge + b * P.
    enum class Edge { first_saved, first, last };
    struct Operand {
        float* base;
        int64_t by_batch, by_thread;
        float* edge;
        Edge at;
    };
    const Call& call;
    const Plan& plan;
    const Dropout& dropout;
    const Rows& rows;
    const float* const table;  // see table_of
    const int64_t P, H, B, group;  // rows that a program runs on one after another: 4 if vectors of several rows go together
    Buffer registers, own_slots, spills, operand_gradients, zeros;
    float* slots;  // [rows, slot_row] unless saving
    float* grad_vectors = nullptr;
    int64_t first_unit, last_unit, t = 0, active = 0;

private:
    static constexpr int wide = V == 16 ? 8 : 4;  // vectors that the registers hold
    std::vector<Operand> operands;  // of a segment
    std::vector<int64_t> strides;   // of these from row to row, if no sequence has another length
    std::vector<float*> addresses;  // of these in the rows of a group

public:
    Machine(const Call& call, const Dropout& dropout, const Rows& rows, const float* table, const Units& units, float* shared_slots)
        : call(call), plan(*call.plan), dropout(dropout), rows(rows), table(table), P(call.P), H(call.H), B(call.B), group(H % (wide * V) ? 4 : 1),
          registers(plan.registers * group * P), own_slots(call.saving || shared_slots ? 0 : rows.size() * slot_row(call)), spills(rows.size() * plan.spills * P),
          operand_gradients(rows.size() * plan.operand_gradients * P), zeros(P), slots(shared_slots ? shared_slots : own_slots.data),
          first_unit(units.first), last_unit(units.last) {
        std::fill(zeros.data, zeros.data + P, 0.0f);
    }

    Operand operand(int32_t code) const {
        const int64_t index = code & 65535, row = slot_row(call);
        const auto of_batch = [&](const float* base, int64_t stride) { return Operand{const_cast<float*>(base), stride, 0, nullptr, {}}; };
        const auto of_thread = [&](float* base, int64_t stride) { return Operand{base, 0, stride, nullptr, {}}; };
        const auto at_edge = [&](float* base, const float* edge, Edge at) { return Operand{base, P, 0, const_cast<float*>(edge), at}; };
        const auto gradient = [&](int64_t t) { return call.carry[index] + (t & 1) * B * P; };
        switch (code >> 16) {
            case in_register: return of_thread(registers.data + index * group * P, 0);
            case in_slot: return call.saving ? of_batch(call.slot + t * B * row + index * P, row) : of_thread(slots + index * P, row);
            case before_step: return at_edge(history(call, index, previous(call, t)), call.initial[index], Edge::first_saved);
            case after_step: return of_batch(history(call, index, t), P);
            case vector: return of_thread(const_cast<float*>(table) + index * P, 0);
            case carry: return at_edge(gradient(t), call.grad_last[index], Edge::last);
            case carried: return at_edge(gradient(previous(call, t)), call.grad_initial[index], Edge::first);
            case grad_output: return call.grad_output ? of_batch(call.grad_output + t * B * P, P) : of_thread(zeros.data, 0);
            case grad_sum: return of_batch(call.grad_sums + ((t - call.begin) * B * plan.sums + index) * P, plan.sums * P);
            case grad_operand: return of_thread(operand_gradients.data + index * P, plan.operand_gradients * P);
            case grad_vector: return of_thread(grad_vectors + index * P, 0);
            default: return of_thread(spills.data + index * P, plan.spills * P);
        }
    }
    INLINE bool is_at_edge(const Operand& o, int64_t r) const {
        if (!o.edge) return false;
        if (o.at == Edge::first_saved) return is_first(call, t, rows.lengths[r]);
        return (o.at == Edge::last) == (call.reverse != 0) ? t == 0 : t + 1 == rows.lengths[r];
    }
    INLINE float* address(const Operand& o, int64_t r) const {
        return is_at_edge(o, r) ? o.edge + rows.rows[r] * P : o.base + rows.rows[r] * o.by_batch + r * o.by_thread;
    }

    // The distance between the rows of sequences of equal length, which stand side by side and are at an edge together.
    int64_t stride(const Operand& o) const { return active && is_at_edge(o, 0) ? P : o.by_batch + o.by_thread; }

    // Runs a program on all active rows.
    void run(const Code& code) {
        uint64_t keys[4];
        const int64_t count = code.places_end - code.places;
        operands.resize(count);
        addresses.resize(group * count);
        strides.resize(count);
        for (int64_t k = 0; k < count; ++k) {
            operands[k] = operand(code.places[k]);
            strides[k] = is_register(code.places[k]) ? P : stride(operands[k]);
        }
        for (int64_t first = 0; first < active; first += group) {
            const int64_t here = std::min(group, active - first);
            for (int64_t k = 0; k < count; ++k) {
                if (first == 0 || call.lengths) addresses[k] = address(operands[k], first);
                else if (!is_register(code.places[k])) addresses[k] += group * strides[k];
            }
            for (int64_t m = 1; m < here; ++m) {
                float** const at = &addresses[m * count];
                if (call.lengths)
                    for (int64_t k = 0; k < count; ++k) at[k] = is_register(code.places[k]) ? addresses[k] + m * P : address(operands[k], first + m);
                else
                    for (int64_t k = 0; k < count; ++k) at[k] = at[k - count] + strides[k];
            }
            if (dropout.kind != none)
                for (int64_t m = 0; m < here; ++m) keys[m] = dropout.key(t, rows.rows[first + m]);
            for (const int32_t *begin = code.begin, *end; begin < code.end; begin = end) {
                for (end = begin; end < code.end && !works_on_rows(end[0]); end += 8) {}
                if (end > begin) run_on_units(begin, end, keys, here, count);
                for (; end < code.end && works_on_rows(end[0]); end += 8)
                    for (int64_t m = 0; m < here; ++m) (static_cast<Op>(end[0]) == Op::normalize ? normalize : normalize_grad)(*this, end, &addresses[m * count], first + m);
            }
        }
    }
    static bool is_register(int32_t code) { return code >> 16 == in_register; }
    static bool works_on_rows(int32_t op) { return static_cast<Op>(op) == Op::normalize || static_cast<Op>(op) == Op::normalize_grad; }

private:
    // Runs instructions on the rows of a group: on `wide` vectors at a time, of one row, or fewer vectors of several rows.
    void run_on_units(const int32_t* begin, const int32_t* end, const uint64_t* keys, int64_t count, int64_t places) const {
        const int64_t last = std::min(last_unit, H);
        int64_t j = first_unit;
        for (; j + wide * V <= last; j += wide * V) interpret_rows<wide>(begin, end, keys, count, places, j);
        for (; j + 4 * V <= last; j += 4 * V) interpret_rows<4>(begin, end, keys, count, places, j);
        for (; j + 2 * V <= last; j += 2 * V) interpret_rows<2>(begin, end, keys, count, places, j);
        for (; j < last; j += V) interpret_rows<1>(begin, end, keys, count, places, j);  // the last one may have padded units, which may be NaN
    }
    template <int K>
    INLINE void interpret_rows(const int32_t* begin, const int32_t* end, const uint64_t* keys, int64_t count, int64_t places, int64_t j) const {
        constexpr int together = std::min(4, wide / K);
        int64_t m = 0;
        for (; m + together <= count; m += together) interpret<together * K, K>(begin, end, &addresses[m * places], places, keys + m, j);
        for (; m < count; ++m) interpret<K, K>(begin, end, &addresses[m * places], places, keys + m, j);
    }

    // Runs instructions on N vectors, K of each row, from unit j on.
    template <int N, int K>
    __attribute__((noinline)) void interpret(const int32_t* i, const int32_t* end, float* const* at, int64_t places, const uint64_t* keys, int64_t j) const {
        vec acc[N] = {};
        const auto of = [&](int32_t place, int n) { return at[n / K * places + place] + j + n % K * V; };
        const auto mask = [&](int n) { return dropout.mask(keys[n / K], j + n % K * V); };
        for (; i < end; i += 8) {
            const int32_t b = i[3], c = i[4];
            if (i[2] >= 0) EACH(N) acc[n] = load(of(i[2], n));
            if (i[6] >= 0) EACH(N) acc[n] *= load(of(i[6], n));
            switch (static_cast<Op>(i[0])) {
                case Op::move: break;
                case Op::add: EACH(N) acc[n] += load(of(b, n)); break;
                case Op::sub: EACH(N) acc[n] -= load(of(b, n)); break;
                case Op::subtract_from: EACH(N) acc[n] = load(of(b, n)) - acc[n]; break;
                case Op::mul: EACH(N) acc[n] *= load(of(b, n)); break;
                case Op::div: EACH(N) acc[n] /= load(of(b, n)); break;
                case Op::divide_into: EACH(N) acc[n] = load(of(b, n)) / acc[n]; break;
                case Op::neg: EACH(N) acc[n] = -acc[n]; break;
                case Op::fma: EACH(N) acc[n] = acc[n] * load(of(b, n)) + load(of(c, n)); break;
                case Op::add_product: EACH(N) acc[n] = load(of(b, n)) * load(of(c, n)) + acc[n]; break;
                case Op::sigmoid: sigmoid_of_each<K >= 2>(acc); break;
                case Op::tanh: tanh_of_each<K >= 2>(acc); break;
                case Op::exp: exp_of_each(acc); break;
                case Op::softplus: softplus_of_each(acc); break;
                case Op::log: EACH(N) acc[n] = log_of(acc[n]); break;
                case Op::relu: EACH(N) acc[n] = acc[n] > vec{} ? acc[n] : acc[n] == acc[n] ? vec{} : acc[n]; break;
                case Op::sqrt: EACH(N) acc[n] = sqrt_of(acc[n]); break;
                case Op::abs: EACH(N) acc[n] = (vec)((uvec)acc[n] & 0x7fffffffu); break;
                case Op::max: EACH(N) { const vec a = acc[n], other = load(of(b, n)); acc[n] = a > other ? a : a == a ? other : a; } break;
                case Op::min: EACH(N) { const vec a = acc[n], other = load(of(b, n)); acc[n] = a < other ? a : a == a ? other : a; } break;
                case Op::dropout: EACH(N) { const vec m = mask(n); acc[n] = dropout.kind >= zoneout ? m * acc[n] + (1.0f - m) * load(of(b, n)) : m * acc[n]; } break;
                case Op::dropout_grad: EACH(N) acc[n] *= mask(n); break;
                case Op::dropout_bypass: EACH(N) acc[n] *= 1.0f - mask(n); break;
                case Op::sigmoid_grad: EACH(N) { const vec y = load(of(b, n)); acc[n] = acc[n] * y * (1.0f - y); } break;
                case Op::tanh_grad: EACH(N) { const vec y = load(of(b, n)); acc[n] *= 1.0f - y * y; } break;
                case Op::relu_grad: EACH(N) acc[n] = load(of(b, n)) > vec{} ? acc[n] : vec{}; break;
                case Op::abs_grad: EACH(N) { const vec a = load(of(b, n)); acc[n] = a > vec{} ? acc[n] : a < vec{} ? -acc[n] : vec{}; } break;
                case Op::pick: EACH(N) { const vec x = load(of(b, n)), y = load(of(c, n)); acc[n] = x > y ? acc[n] : x == y ? 0.5f * acc[n] : vec{}; } break;
                case Op::normalize: case Op::normalize_grad: break;  // see works_on_rows
            }
            if (i[1] >= 0) EACH(N) store(of(i[1], n), acc[n]);
            if (i[7] >= 0) EACH(N) store(of(i[7], n), load(of(i[7], n)) + acc[n]);
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
    float* scalar(int32_t index, int64_t r) const { return address(operand(in_slot << 16), r) + plan.slots * P + index; }
    static void normalize(const Machine& self, const int32_t* i, float* const* at, int64_t r) {
        const float* const v = at[i[2]];
        const float center = self.mean([&](int64_t j, int n) { return load(v + j, n); });
        const float variance = self.mean([&](int64_t j, int n) {
            const vec d = load(v + j, n) - center;
            return n == V ? d * d : first_of(d * d, n);
        });
        const float scale = 1.0f / std::sqrt(variance + 1e-5f);
        *self.scalar(i[5], r) = scale;
        for (int64_t j = 0; j < self.P; j += V) store(at[i[1]] + j, (load(v + j) - center) * scale);
    }
    static void normalize_grad(const Machine& self, const int32_t* i, float* const* at, int64_t r) {
        const float *const g = at[i[2]], *const y = at[i[3]];
        const float mean_g = self.mean([&](int64_t j, int n) { return load(g + j, n); });
        const float mean_gy = self.mean([&](int64_t j, int n) { return load(g + j, n) * load(y + j, n); });
        const float scale = *self.scalar(i[5], r);
        for (int64_t j = 0; j < self.P; j += V) store(at[i[1]] + j, (load(g + j) - mean_g - load(y + j) * mean_gy) * scale);
    }
};

}  // namespace
