// The forward pass of a cell: all steps of the rows of one thread.

#pragma once

#include "cell_program.h"

namespace {

// Up to 4 vectors of the sums of a group: b [N, V], and in words W [I, N, V] if the group has x, U [H, N, V] if it has an
// operand; zero beyond H.
struct CellPanel {
    const int32_t* group;
    int64_t column;  // first, of the P units of all sums
    int N;
    float* data;
};

template <class Format>
int64_t cell_panel_rows(const CellCall& call, const int32_t* group) {
    return 1 + (group[1] ? padded<Format>(call.base.I) : 0) + (group[0] >= 0 ? padded<Format>(call.base.H) : 0);
}

template <class Format>
void pack_cell_panel(const CellCall& call, const CellPanel& panel) {
    const int64_t H = call.base.H, I = call.base.I, width = panel.N * V;
    for (int n = 0; n < panel.N; ++n) {
        const int64_t sum = (panel.column + n * V) / call.P, unit = (panel.column + n * V) % call.P;
        store(panel.data + n * V, call.b[sum] ? load(call.b[sum] + unit) : vec{});
        float* to = panel.data + width + n * V;
        const auto pack = [&](const float* matrix, int64_t columns) {
            Converted<Format> converted(V, columns);
            const float* rows[V];
            for (int64_t v = 0; v < V; ++v) rows[v] = unit + v < H ? converted.row(v, matrix + (unit + v) * columns, columns) : nullptr;
            transpose(rows, padded<Format>(columns), to, width);
            to += padded<Format>(columns) * width;
        };
        if (panel.group[1]) pack(call.W[sum], I);
        if (panel.group[0] >= 0) pack(call.U[sum], H);
    }
}

struct CellRow {  // one row at one step
    const float *x, *operand;  // words
    float* sums;
};

template <class Format, int M, int N>
__attribute__((noinline)) void cell_tile(const CellRow* rows, int64_t inputs, int64_t states, const float* panel, int64_t column) {
    const float *x[M], *operand[M];
    vec z[M][N];
    for (int m = 0; m < M; ++m) {
        x[m] = rows[m].x;
        operand[m] = rows[m].operand;
        EACH(N) z[m][n] = load(panel + n * V);
    }
    const float *W = panel + N * V, *U = W + padded<Format>(inputs) * N * V;
    multiply<Format, M, N>(x, words<Format>(inputs), W, z);
    const int64_t length = words<Format>(states);
    for (int m = 0; m < M; ++m) {  // writes wait for their cache lines, which are fetched meanwhile
        for (int n = 0; n < N; ++n) __builtin_prefetch(rows[m].sums + column + n * V, 1);
        multiply<Format, M, N>(operand, length * (m + 1) / M, U, z, false, length * m / M);
    }
    for (int m = 0; m < M; ++m) EACH(N) store(rows[m].sums + column + n * V, z[m][n]);
}

template <class Format>
void cell_rows(const CellCall& call, const Dropout& dropout, const Rows& thread_rows, const std::vector<CellPanel>& panels) {
    const int64_t B = call.base.B, H = call.base.H, I = call.base.I;
    Machine machine(call, dropout, thread_rows);
    std::vector<CellRow> rows(thread_rows.size());
    Converted<Format> inputs(thread_rows.size(), I), operands(thread_rows.size(), H);
    for (int64_t t = call.base.begin; t < call.base.end; ++t) {
        const int64_t active = machine.active = thread_rows.active(t);
        machine.t = t;
        size_t panel = 0;
        for (int64_t segment = 0, group = 0, begin = 0; segment < call.forward_segments; begin = call.forward_ends[segment++]) {
            for (; group < call.groups_ends[segment]; ++group) {
                const int32_t* const g = call.groups + 4 * group;
                bool any = false;  // whether the operand is not 0, as h is before the first step
                for (int64_t r = 0; r < active; ++r) {
                    const int64_t b = thread_rows.rows[r];
                    const float* const operand = g[0] < 0 ? nullptr : machine.operand(g[0], r).row(0);
                    any |= operand && (t > 0 || !is_zero(operand, H));
                    rows[r] = {g[1] ? inputs.row(r, call.base.x + (t * B + b) * I, I) : nullptr, operand ? operands.row(r, operand, H) : nullptr,
                               machine.operand(in_slot << 16, r).row(0)};
                }
                for (; panel < panels.size() && panels[panel].group == g; ++panel) {
                    const CellPanel& p = panels[panel];
                    in_blocks(active, tile_rows, [&](int64_t first, int count) {
                        with_constant<tile_rows>(count, [&](auto M) {
                            with_constant<4>(p.N, [&](auto N) {
                                cell_tile<Format, decltype(M)::value, decltype(N)::value>(&rows[first], g[1] ? I : 0, any ? H : 0, p.data, p.column);
                            });
                        });
                    });
                }
            }
            machine.run(call.forward + 6 * begin, call.forward + 6 * call.forward_ends[segment]);
        }
        for (int64_t r = 0; r < thread_rows.size(); ++r) {
            const int64_t b = thread_rows.rows[r];
            if (r >= active) std::memset(history(call, 0, t + 1) + b * call.P, 0, call.P * sizeof(float));
            if (thread_rows.lengths[r] == t + 1)
                for (int64_t state = 0; state < call.states; ++state)
                    std::memcpy(call.last[state] + b * call.P, history(call, state, t + 1) + b * call.P, call.P * sizeof(float));
        }
    }
}

template <class Format>
void cell_forward(const CellCall& call) {
    const Dropout dropout = dropout_of(call.base);
    const int64_t parts = parts_of(call.base);
    std::vector<CellPanel> panels;
    int64_t size = 0;
    for (int64_t group = 0; group < call.groups_ends[call.forward_segments - 1]; ++group) {
        const int32_t* const g = call.groups + 4 * group;
        for (int64_t column = g[2] * call.P, end = column + g[3] * call.P; column < end; column += 4 * V) {
            const int N = static_cast<int>(std::min<int64_t>(4, (end - column) / V));
            panels.push_back({g, column, N, nullptr});
            size += cell_panel_rows<Format>(call, g) * N * V;
        }
    }
    const Buffer packed(size);
    float* at = packed.data;
    for (CellPanel& panel : panels) {
        panel.data = at;
        at += cell_panel_rows<Format>(call, panel.group) * panel.N * V;
    }
    if (call.saving) {
        const int64_t begin = call.base.begin, steps = call.base.end - begin, B = call.base.B;
        prefer_large_pages(call.slot + begin * B * slot_row(call), steps * B * slot_row(call) * 4);
        for (int64_t state = 0; state < call.states; ++state) prefer_large_pages(history(call, state, begin), (steps + 1) * B * call.P * 4);
    }
    std::atomic<size_t> next{0};
    parallel(
        parts,
        [&](int64_t) {
            for (size_t p; (p = next++) < panels.size();) pack_cell_panel<Format>(call, panels[p]);
        },
        [&](int64_t part) { cell_rows<Format>(call, dropout, Rows(call.base, part, parts), panels); });
}

}  // namespace
