// The forward pass: all steps of the rows of one thread.

#pragma once

#include "dropout.h"
#include "rows.h"

namespace {

// The panel of units j to j + V - 1: b [4, V], and in words W [I, 4, V], U [H, 4, V], zero beyond H.
template <class Format>
int64_t forward_panel_size(const Call& call) { return (1 + padded<Format>(call.I) + padded<Format>(call.H)) * 4 * V; }

// W or U, [4, H, columns], for units j to j + V - 1, in words [columns, 4, V]. Returns the end of these.
template <class Format>
float* pack_transposed(const Call& call, const float* matrix, int64_t columns, int64_t j, float* to) {
    Converted<Format> converted(V, columns);
    for (int gate = 0; gate < 4; ++gate) {
        const float* rows[V];
        for (int64_t v = 0; v < V; ++v)
            rows[v] = j + v < call.H ? converted.row(v, matrix + (gate * call.H + j + v) * columns, columns) : nullptr;
        transpose(rows, padded<Format>(columns), to + gate * V, 4 * V);
    }
    return to + padded<Format>(columns) * 4 * V;
}

template <class Format>
void pack_forward(const Call& call, int64_t j, float* panel) {
    const int n = static_cast<int>(std::min<int64_t>(V, call.H - j));
    for (int gate = 0; gate < 4; ++gate) {
        const auto bias = [&](const float* b) { return b ? load(b + gate * call.H + j, n) : vec{}; };
        store(panel + gate * V, bias(call.b_ih) + bias(call.b_hh));
    }
    float* U = pack_transposed<Format>(call, call.W, call.I, j, panel + 4 * V);
    pack_transposed<Format>(call, call.U, call.H, j, U);
}

struct ForwardRow {  // one row at one step
    const float *x, *h;  // words
    const float *h_before, *c;
    float *output, *gates, *cell;
    uint64_t key;
};

// Fetches the cache lines of units from j on that `forward_tile` accesses after its sums: first-time writes wait for them.
INLINE void prefetch(const Call& call, const ForwardRow& row, int64_t j) {
    __builtin_prefetch(row.c + j);
    __builtin_prefetch(row.cell + j, 1);
    __builtin_prefetch(row.output + j, 1);
    if (row.gates)
        for (int gate = 0; gate < 4; ++gate) __builtin_prefetch(row.gates + gate * call.H + j, 1);
}

// From the sums inside the gates of units j to j + V - 1 to the state after the step, for M rows.
template <int M>
INLINE void forward_gates(const Call& call, const Dropout& dropout, const ForwardRow* rows, int64_t j, vec (&z)[M][4]) {
    const int n = static_cast<int>(std::min<int64_t>(V, call.H - j));
    vec tanh_c[M];
    for (int m = 0; m < M; ++m) {
        const vec arguments[4] = {sigmoid_argument(z[m][0]), sigmoid_argument(z[m][1]), tanh_argument(z[m][2]), sigmoid_argument(z[m][3])};
        Exponential e[4];
        exponentials(arguments, e);
        vec i, f, g, o;
        divide(sigmoid(e[0]), sigmoid(e[1]), i, f);
        divide(tanh(e[2]), sigmoid(e[3]), g, o);
        const vec c = f * load(rows[m].c + j, n) + i * g;
        store(rows[m].cell + j, c, n);
        tanh_c[m] = c;
        z[m][3] = o;
        if (float* gates = rows[m].gates) {
            store(gates + j, i, n);
            store(gates + call.H + j, f, n);
            store(gates + 2 * call.H + j, g, n);
            store(gates + 3 * call.H + j, o, n);
        }
    }
    tanh_of_each(tanh_c);
    for (int m = 0; m < M; ++m) {
        vec h_new = z[m][3] * tanh_c[m];
        if (dropout.kind != none) {
            const vec mask = dropout.mask(rows[m].key, j);
            h_new *= mask;
            if (dropout.kind >= zoneout && rows[m].h_before) h_new += (1.0f - mask) * load(rows[m].h_before + j, n);
        }
        store(rows[m].output + j, h_new, n);
    }
}

template <class Format, int M>
__attribute__((noinline)) void forward_tile(const Call& call, const Dropout& dropout, const ForwardRow* rows, const float* panel, int64_t j, bool from_last) {
    const float *x[M], *h[M];
    bool recurrent = false;
    vec z[M][4];
    for (int m = 0; m < M; ++m) {
        x[m] = rows[m].x;
        h[m] = rows[m].h;
        recurrent |= h[m] != nullptr;
        for (int gate = 0; gate < 4; ++gate) z[m][gate] = load(panel + gate * V);
    }
    const int64_t inputs = words<Format>(call.I), states = recurrent ? words<Format>(call.H) : 0;
    const float *W = panel + 4 * V, *U = W + padded<Format>(call.I) * 4 * V;
    if (M == 1 && from_last) {
        multiply<Format, M, 4>(h, states, U, z, true);
        multiply<Format, M, 4>(x, inputs, W, z, true);
    } else {
        multiply<Format, M, 4>(x, inputs, W, z);
        for (int m = 0; m < M; ++m) {
            prefetch(call, rows[m], j);
            multiply<Format, M, 4>(h, states * (m + 1) / M, U, z, false, states * m / M);
        }
    }
    forward_gates<M>(call, dropout, rows, j, z);
}

// The same for up to `Amx::max_rows` rows.
template <class Format>
void forward_with_amx(const Call& call, const Dropout& dropout, const Amx& amx, const ForwardRow* rows, int64_t count, const float* panel, int64_t j) {
    alignas(64) float sums[Amx::max_rows * 4 * V];
    const int64_t inputs = padded<Format>(call.I), states = padded<Format>(call.H);
    const float *W = panel + 4 * V, *U = W + inputs * 4 * V;
    for (int64_t r = 0; r < count; ++r) prefetch(call, rows[r], j);
    amx.multiply({{rows->x, inputs, amx_words, inputs, W}, {rows->h, states, amx_words, rows->h ? states : 0, U}}, 4, sums);
    in_blocks(count, tile_rows, [&](int64_t first, int rows_here) {
        with_constant<tile_rows>(rows_here, [&](auto M) {
            vec z[M][4];
            for (int m = 0; m < M; ++m)
                for (int gate = 0; gate < 4; ++gate) z[m][gate] = load(panel + gate * V) + load(sums + ((first + m) * 4 + gate) * V);
            forward_gates<M>(call, dropout, rows + first, j, z);
        });
    });
}

template <class Format>
void forward_rows(const Call& call, const Dropout& dropout, const Rows& thread_rows, const Units& units, const float* panels, bool h_is_zero, const float* zeros) {
    const int64_t B = call.B, H = call.H, first_unit = units.first * V, unit_count = std::min(units.last * V, H) - first_unit;
    if (!call.cells)
        for (const int64_t b : thread_rows.rows) std::memcpy(call.c_last + b * H + first_unit, call.c + b * H + first_unit, unit_count * sizeof(float));

    std::vector<ForwardRow> rows(thread_rows.size());
    Converted<Format> inputs(thread_rows.size(), call.I), states(thread_rows.size(), H);
    Amx amx;
    for (int64_t s = 0; s < call.end - call.begin; ++s) {
        const int64_t t = call.reverse ? call.end - 1 - s : call.begin + s;
        const int64_t active = thread_rows.active(t);
        bool any_h = false;
        for (int64_t r = 0; r < active; ++r) {
            const int64_t b = thread_rows.rows[r], tb = t * B + b, kb = tb - call.saved_begin * B;
            const float* h = before(call, call.h, call.output, 0, t, b, thread_rows.lengths[r]);
            if (h_is_zero && h == call.h + b * H) h = nullptr;
            float* cell = call.cells ? call.cells + kb * H : call.c_last + b * H;
            const float* c = call.cells ? before(call, call.c, call.cells, call.saved_begin, t, b, thread_rows.lengths[r]) : cell;
            any_h |= h != nullptr;
            rows[r] = {inputs.row(r, call.x + tb * call.I, call.I), h ? states.row(r, h, H) : nullptr, h, c, call.output + tb * H, call.gates ? call.gates + kb * 4 * H : nullptr,
                       cell, dropout.kind == none ? 0 : dropout.key(t, b)};
        }
        if (any_h)
            for (int64_t r = 0; r < active; ++r)
                if (!rows[r].h) rows[r].h = states.row(r, zeros, H);
        for (int64_t r = active; r < thread_rows.size(); ++r)
            std::memset(call.output + (t * B + thread_rows.rows[r]) * H + first_unit, 0, unit_count * sizeof(float));

        // A single row reads all weights from the L2 cache at each step. Every other step runs from the last panel to the
        // first, and finds in the L1 cache what the step before it read last.
        const bool from_last = call.B == 1 && s % 2 == 1;
        for (int64_t k = units.first; k < units.last; ++k) {
            const int64_t p = from_last ? units.first + units.last - 1 - k : k;
            const float* panel = panels + p * forward_panel_size<Format>(call);
            if (prefers_amx<Format>(active))
                in_amx_blocks(amx, active, [&](int64_t first, int64_t count) { forward_with_amx<Format>(call, dropout, amx, &rows[first], count, panel, p * V); });
            else
                in_blocks(active, tile_rows, [&](int64_t first, int count) {
                    with_constant<tile_rows>(count, [&](auto M) { forward_tile<Format, decltype(M)::value>(call, dropout, &rows[first], panel, p * V, from_last); });
                });
        }
        if (units.barrier) units.barrier->wait(units.threads * (s + 1));
    }

    if (units.first > 0) return;
    for (int64_t r = 0; r < thread_rows.size(); ++r) {
        const int64_t b = thread_rows.rows[r], length = thread_rows.lengths[r];
        const bool was_active = length > call.begin;
        const int64_t last = call.reverse ? call.begin : std::min(length, call.end) - 1;
        const float* h = was_active ? call.output + (last * B + b) * H : call.h + b * H;
        std::memcpy(call.h_last + b * H, h, H * sizeof(float));
        if (!call.cells) continue;
        const float* c = was_active ? call.cells + ((last - call.saved_begin) * B + b) * H : call.c + b * H;
        std::memcpy(call.c_last + b * H, c, H * sizeof(float));
    }
}

}  // namespace
