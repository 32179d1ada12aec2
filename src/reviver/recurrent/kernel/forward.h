// The forward pass of a cell: all steps of the rows of one thread.

#pragma once

#include "program.h"

namespace {

// Up to 4 vectors of the sums of a group: b [N, V], and in words W [I, N, V] if the group has x, U [H, N, V] if it has an
// operand; zero beyond H.
struct Panel {
    const int32_t* group;
    int64_t column;  // first, of the P units of all sums
    int N;
    float* data;
};

template <class Format>
int64_t panel_rows(const Call& call, const int32_t* group) {
    return 1 + (group[1] ? padded<Format>(call.I) : 0) + (group[0] >= 0 ? padded<Format>(call.H) : 0);
}

template <class Format>
void pack_panel(const Call& call, const float* table, const Panel& panel) {
    const Plan& plan = *call.plan;
    const int64_t H = call.H, I = call.I, width = panel.N * V;
    for (int n = 0; n < panel.N; ++n) {
        const int64_t sum = (panel.column + n * V) / call.P, unit = (panel.column + n * V) % call.P;
        store(panel.data + n * V, plan.b[sum] < 0 ? vec{} : load(table + plan.b[sum] * call.P + unit));
        float* to = panel.data + width + n * V;
        const auto pack = [&](const float* matrix, int64_t columns) {
            Converted<Format> converted(V, columns);
            const float* rows[V];
            for (int64_t v = 0; v < V; ++v) rows[v] = unit + v < H ? converted.row(v, matrix + (unit + v) * columns, columns) : nullptr;
            transpose(rows, padded<Format>(columns), to, width);
            to += padded<Format>(columns) * width;
        };
        if (panel.group[1]) pack(matrix_of(call, plan.W + 2 * sum, I), I);
        if (panel.group[0] >= 0) pack(matrix_of(call, plan.U + 2 * sum, H), H);
    }
}

struct ForwardRow {  // one row at one step
    const float *x, *operand;  // words
    float* sums;
};

template <class Format, int M, int N>
__attribute__((noinline)) void forward_tile(const ForwardRow* rows, int64_t inputs, int64_t states, const Panel& panel, bool from_last) {
    const float *x[M], *operand[M];
    vec z[M][N];
    for (int m = 0; m < M; ++m) {
        x[m] = rows[m].x;
        operand[m] = rows[m].operand;
        EACH(N) z[m][n] = load(panel.data + n * V);
    }
    const float *W = panel.data + N * V, *U = W + padded<Format>(inputs) * N * V;
    const int64_t length = words<Format>(states);
    if (M == 1 && from_last) multiply<Format, M, N>(operand, length, U, z, true);
    multiply<Format, M, N>(x, words<Format>(inputs), W, z, M == 1 && from_last);
    for (int m = 0; m < M; ++m) {  // writes wait for their cache lines, which are fetched meanwhile
        for (int n = 0; n < N; ++n) __builtin_prefetch(rows[m].sums + panel.column + n * V, 1);
        if (M > 1 || !from_last) multiply<Format, M, N>(operand, length * (m + 1) / M, U, z, false, length * m / M);
    }
    for (int m = 0; m < M; ++m) EACH(N) store(rows[m].sums + panel.column + n * V, z[m][n]);
}

// The same for up to `Amx::max_rows` rows.
template <class Format>
void forward_with_amx(const Amx& amx, const ForwardRow* rows, int64_t count, int64_t inputs, int64_t states, const Panel& panel) {
    alignas(64) float sums[Amx::max_rows * 4 * V];
    const int64_t width = panel.N * V, x_words = padded<Format>(inputs), words = padded<Format>(states);
    const float *W = panel.data + width, *U = W + x_words * width;
    for (int64_t r = 0; r < count; ++r)
        for (int64_t k = 0; k < width; k += 16) __builtin_prefetch(rows[r].sums + panel.column + k, 1);
    amx.multiply({{rows->x, x_words, amx_words, x_words, W}, {rows->operand, words, amx_words, words, U}}, panel.N, sums);
    for (int64_t r = 0; r < count; ++r)
        for (int64_t k = 0; k < width; k += V) store(rows[r].sums + panel.column + k, load(panel.data + k) + load(sums + r * width + k));
}

template <class Format>
void forward_rows(const Call& call, const Dropout& dropout, const Rows& thread_rows, const float* table, const Units& units, float* shared_slots, const std::vector<Panel>& panels) {
    const Plan& plan = *call.plan;
    const int64_t B = call.B, H = call.H, I = call.I, P = call.P;
    Machine machine(call, dropout, thread_rows, table, units, shared_slots);
    std::vector<ForwardRow> rows(thread_rows.size());
    Converted<Format> inputs(thread_rows.size(), I), operands(thread_rows.size(), H);
    Amx amx;
    int64_t waits = 0;
    for (int64_t s = 0; s < call.end - call.begin; ++s) {
        const int64_t t = call.reverse ? call.end - 1 - s : call.begin + s, active = machine.active = thread_rows.active(t);
        machine.t = t;
        // A single row reads all weights from the L2 cache at each step. Every other step runs from the last panel to the first,
        // and finds in the L1 cache what the step before it read last.
        const bool from_last = B == 1 && s % 2 == 1;
        const Panel* panel = panels.data();
        for (int64_t segment = 0, group = 0; segment < plan.forward_segments; ++segment) {
            for (; group < plan.groups_ends[segment]; ++group) {
                const int32_t* const g = plan.groups + 4 * group;
                const auto operand = machine.operand(std::max(g[0], 0)), sums = machine.operand(in_slot << 16);
                const int64_t operand_stride = machine.stride(operand), sums_stride = machine.stride(sums);
                const float* from = nullptr;
                float* to = nullptr;
                bool any = false;  // whether the operand is not 0, as h is before the first step
                for (int64_t r = 0; r < active; ++r) {
                    const bool by_stride = r > 0 && !call.lengths;
                    if (g[0] >= 0) from = by_stride ? from + operand_stride : machine.address(operand, r);
                    to = by_stride ? to + sums_stride : machine.address(sums, r);
                    any = any || (from && !(is_first(call, t, thread_rows.lengths[r]) && is_zero(from, H)));
                    rows[r] = {g[1] ? inputs.row(r, call.x + (t * B + thread_rows.rows[r]) * I, I) : nullptr, from ? operands.row(r, from, H) : nullptr, to};
                }
                const Panel* const begin = panel;
                while (panel < panels.data() + panels.size() && panel->group == g) ++panel;
                const int64_t x_size = g[1] ? I : 0, size = any ? H : 0;
                for (int64_t k = 0; k < panel - begin; ++k) {
                    const Panel& p = from_last ? panel[-1 - k] : begin[k];
                    if (p.column % P < units.first || p.column % P >= units.last) continue;
                    if (prefers_amx<Format>(active))
                        in_amx_blocks(amx, active, [&](int64_t first, int64_t count) { forward_with_amx<Format>(amx, &rows[first], count, x_size, size, p); });
                    else
                        in_blocks(active, tile_rows, [&](int64_t first, int count) {
                            with_constant<tile_rows>(count, [&](auto M) {
                                with_constant<4>(p.N, [&](auto N) { forward_tile<Format, decltype(M)::value, decltype(N)::value>(&rows[first], x_size, size, p, from_last); });
                            });
                        });
                }
            }
            machine.run({plan.forward, plan.forward_ends, plan.forward_places, plan.forward_places_ends, segment});
            if (units.barrier) units.barrier->wait(units.threads * ++waits);
        }
        for (int64_t r = active; r < thread_rows.size(); ++r) std::memset(history(call, 0, t) + thread_rows.rows[r] * P, 0, P * sizeof(float));
    }
    if (units.first > 0) return;
    for (int64_t r = 0; r < thread_rows.size(); ++r) {
        const int64_t b = thread_rows.rows[r], length = thread_rows.lengths[r];
        const int64_t last = call.reverse ? call.begin : std::min(length, call.end) - 1;
        for (int64_t state = 0; state < plan.states; ++state)
            std::memcpy(call.last[state] + b * P, (length > call.begin ? history(call, state, last) : call.initial[state]) + b * P, P * sizeof(float));
    }
}

template <class Format>
void forward(const Call& call) {
    const Plan& plan = *call.plan;
    const Dropout dropout = dropout_of(call);
    const int64_t P = call.P;
    bool share_units = call.B == 1;  // among the threads
    for (const int32_t* i = plan.forward; i < plan.forward + 8 * plan.forward_ends[plan.forward_segments - 1]; i += 8) share_units = share_units && !Machine::works_on_rows(i[0]);
    const int64_t parts = share_units ? parts_of_units(call) : parts_of(call), shares = share_units ? parts : 1;
    const std::vector<float> table = table_of(call);
    std::vector<int64_t> bounds;  // of the units of each share, which begin at even vectors: two share a division
    for (int64_t share = 0; share <= shares; ++share) bounds.push_back(std::min(P, ceil_div(P, 2 * V) * share / shares * 2 * V));
    std::vector<Panel> panels;
    int64_t size = 0;
    const auto add_panels = [&](const int32_t* group, int64_t column, int64_t end) {
        for (; column < end; column += 4 * V) {
            panels.push_back({group, column, static_cast<int>(std::min<int64_t>(4, (end - column) / V)), nullptr});
            size += panel_rows<Format>(call, group) * panels.back().N * V;
        }
    };
    for (int64_t group = 0; group < plan.groups_ends[plan.forward_segments - 1]; ++group) {
        const int32_t* const g = plan.groups + 4 * group;
        if (shares == 1) add_panels(g, g[2] * P, (g[2] + g[3]) * P);
        for (int64_t share = 0; shares > 1 && share < shares; ++share)
            for (int64_t sum = g[2]; sum < g[2] + g[3]; ++sum) add_panels(g, sum * P + bounds[share], sum * P + bounds[share + 1]);
    }
    const Buffer packed(size), shared_slots(share_units && !call.saving ? slot_row(call) : 0);
    float* at = packed.data;
    for (Panel& panel : panels) {
        panel.data = at;
        at += panel_rows<Format>(call, panel.group) * panel.N * V;
    }
    if (call.saving) {
        const int64_t steps = call.end - call.begin;
        prefer_large_pages(call.slot + call.begin * call.B * slot_row(call), steps * call.B * slot_row(call) * 4);
        for (int64_t state = 0; state < plan.states; ++state) prefer_large_pages(history(call, state, call.begin), steps * call.B * P * 4);
    }
    std::atomic<size_t> next{0};
    StepBarrier barrier;
    parallel(
        parts,
        [&](int64_t) {
            for (size_t p; (p = next++) < panels.size();) pack_panel<Format>(call, table.data(), panels[p]);
        },
        [&](int64_t part) {
            if (!share_units) return forward_rows<Format>(call, dropout, Rows(call, part, parts), table.data(), {0, P, nullptr, 1}, nullptr, panels);
            const int64_t threads = concurrent_parts(parts);
            if (part >= threads) return;  // the others compute its units
            const Units units{bounds[shares * part / threads], bounds[shares * (part + 1) / threads], threads > 1 ? &barrier : nullptr, threads};
            forward_rows<Format>(call, dropout, Rows(call, 0, 1), table.data(), units, call.saving ? nullptr : shared_slots.data, panels);
        });
}

}  // namespace
