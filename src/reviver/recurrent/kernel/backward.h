// The backward pass through time: gradients of the states and of the sums inside the gates.

#pragma once

#include "dropout.h"
#include "rows.h"

namespace {

// The panel of units j to j + 4V - 1: U, in words [4H, N, V] with N <= 4 vectors, zero beyond H.
template <class Format>
void pack_backward(const Call& call, int64_t j, float* panel) {
    const int64_t width = std::min<int64_t>(4, ceil_div(call.H - j, V)) * V;
    const int64_t n = std::min(width, call.H - j);
    float* const end = panel + padded<Format>(4 * call.H) * width;
    for (int64_t k = 0; k < 4 * call.H; k += Format::depth, panel += width) {  // depth divides 4
        const float* rows[Format::depth];
        for (int d = 0; d < Format::depth; ++d) rows[d] = call.U + (k + d) * call.H + j;
        Format::across(rows, n, panel);
        std::fill(panel + n, panel + width, 0.0f);
    }
    std::fill(panel, end, 0.0f);
}

struct BackwardRow {
    const float *gates, *c, *c_before, *grad_output;
    float *grad_h, *grad_c, *grad_gates;
    uint64_t key;
    const float* grad_words;  // grad_gates in words
};

// Computes from the gradients of h and c after a step those of the sums inside the gates and of c before the step.
// Leaves in grad_h the part of h before the step that bypasses the gates: 0 except in zoneout.
void backward_gates(const Call& call, const Dropout& dropout, const BackwardRow& row, float* grad_b) {
    const int64_t H = call.H;
    for (int64_t j = 0; j < H; j += V) {
        const int n = static_cast<int>(std::min<int64_t>(V, H - j));
        const vec i = load(row.gates + j, n), f = load(row.gates + H + j, n);
        const vec g = load(row.gates + 2 * H + j, n), o = load(row.gates + 3 * H + j, n);
        vec tanh_of_c[1] = {load(row.c + j, n)};
        tanh_of_each(tanh_of_c);
        const vec tanh_c = tanh_of_c[0];
        vec grad_h = load(row.grad_h + j, n);
        if (row.grad_output) grad_h += load(row.grad_output + j, n);
        vec bypass = {};
        if (dropout.kind != none) {
            const vec mask = dropout.mask(row.key, j);
            if (dropout.kind >= zoneout) bypass = (1.0f - mask) * grad_h;
            grad_h *= mask;
        }
        const vec grad_c = load(row.grad_c + j, n) + grad_h * o * (1.0f - tanh_c * tanh_c);
        const vec grad_i = grad_c * g * i * (1.0f - i), grad_f = grad_c * load(row.c_before + j, n) * f * (1.0f - f);
        const vec grad_z[4] = {grad_i, grad_f, grad_c * i * (1.0f - g * g), grad_h * tanh_c * o * (1.0f - o)};
        for (int gate = 0; gate < 4; ++gate) {
            store(row.grad_gates + gate * H + j, grad_z[gate], n);
            store(grad_b + gate * H + j, load(grad_b + gate * H + j, n) + grad_z[gate], n);
        }
        store(row.grad_c + j, grad_c * f, n);
        store(row.grad_h + j, bypass, n);
    }
}

// Fetches to the L2 cache what `backward_gates` accesses at the next step of units j to j + width - 1: it has no sums
// that could hide the time of waiting.
INLINE void prefetch(const Call& call, const BackwardRow& row, int64_t j, int64_t width) {
    const int64_t next = call.reverse ? call.B * call.H : -call.B * call.H;
    for (int64_t k = j; k < j + width; k += 16) {
        __builtin_prefetch(row.c_before + next + k, 0, 2);
        for (int gate = 0; gate < 4; ++gate) {
            __builtin_prefetch(row.gates + 4 * next + gate * call.H + k, 0, 2);
            __builtin_prefetch(row.grad_gates + 4 * next + gate * call.H + k, 0, 2);
        }
    }
}

// grad_h[:, j:] += grad_gates U[:, j:], for M rows.
template <class Format, int M, int N>
__attribute__((noinline)) void backward_tile(const Call& call, const BackwardRow* rows, const float* panel, int64_t j) {
    const float* grad_words[M];
    vec sums[M][N];
    const int64_t width = std::min<int64_t>(N * V, call.H - j);
    for (int m = 0; m < M; ++m) {
        grad_words[m] = rows[m].grad_words;
        for (int n = 0; n < N; ++n) sums[m][n] = vec{};
    }
    const int64_t length = words<Format>(4 * call.H);
    for (int m = 0; m < M; ++m) {
        prefetch(call, rows[m], j, width);
        multiply<Format, M, N>(grad_words, length * (m + 1) / M, panel, sums, false, length * m / M);
    }
    for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) {
            const int count = static_cast<int>(std::min<int64_t>(V, width - n * V));
            float* to = rows[m].grad_h + j + n * V;
            store(to, load(to, count) + sums[m][n], count);
        }
}

// The same with 64 or fewer columns, which N vectors hold, for up to `Amx::max_rows` rows.
template <class Format>
void backward_with_amx(const Call& call, const Amx& amx, const BackwardRow* rows, int64_t count, const float* panel, int64_t j, int64_t N) {
    alignas(64) float sums[Amx::max_rows * 4 * V];
    const int64_t length = padded<Format>(4 * call.H), width = std::min<int64_t>(N * V, call.H - j);
    for (int64_t r = 0; r < count; ++r) prefetch(call, rows[r], j, width);
    amx.multiply({{rows->grad_words, length, amx_words, length, panel}}, N, sums);
    for (int64_t r = 0; r < count; ++r)
        for (int64_t k = 0; k < width; ++k) rows[r].grad_h[j + k] += sums[r * N * V + k];
}

template <class Format>
void backward_rows(const Call& call, const Dropout& dropout, const Rows& thread_rows, const float* panels, float* grad_b) {
    const int64_t B = call.B, H = call.H, steps = call.end - call.begin;
    std::vector<BackwardRow> rows(thread_rows.size());
    Converted<Format> gradients(thread_rows.size(), 4 * H);
    Amx amx;
    for (int64_t s = 0; s < steps; ++s) {
        const int64_t t = call.reverse ? call.begin + s : call.end - 1 - s;
        const int64_t active = thread_rows.active(t);
        for (int64_t r = 0; r < active; ++r) {
            const int64_t b = thread_rows.rows[r], tb = t * B + b, kb = tb - call.saved_begin * B;
            const float* c_before = before(call, call.c, call.cells, call.saved_begin, t, b, thread_rows.lengths[r]);
            rows[r] = {call.gates + kb * 4 * H, call.cells + kb * H, c_before, call.grad_output ? call.grad_output + tb * H : nullptr, call.grad_h + b * H,
                       call.grad_c + b * H, call.grad_gates + (tb - call.begin * B) * 4 * H, dropout.kind == none ? 0 : dropout.key(t, b), nullptr};
            backward_gates(call, dropout, rows[r], grad_b);
            rows[r].grad_words = gradients.row(r, rows[r].grad_gates, 4 * H);
        }
        for (int64_t r = active; r < thread_rows.size(); ++r)
            std::memset(call.grad_gates + ((t - call.begin) * B + thread_rows.rows[r]) * 4 * H, 0, 4 * H * sizeof(float));
        if (call.stop_at_first && s == steps - 1) return;

        for (int64_t j = 0; j < H; j += 4 * V) {
            const float* panel = panels + j * padded<Format>(4 * H);
            const int64_t N = std::min<int64_t>(4, ceil_div(H - j, V));
            if (prefers_amx<Format>(active))
                in_amx_blocks(amx, active, [&](int64_t first, int64_t count) { backward_with_amx<Format>(call, amx, &rows[first], count, panel, j, N); });
            else
                in_blocks(active, tile_rows, [&](int64_t first, int count) {
                    with_constant<tile_rows>(count, [&](auto M) {
                        with_constant<4>(N, [&](auto N) { backward_tile<Format, decltype(M)::value, decltype(N)::value>(call, &rows[first], panel, j); });
                    });
                });
        }
    }
}

}  // namespace
