// The backward pass of a cell through time, and the gradients of its weights.

#pragma once

#include "cell_program.h"
#include "weight_gradients.h"

namespace {

// The panel of columns j to j + N V - 1 of the U of a product, in words: [count P, N, V], zero beyond H.
struct BackwardPanel {
    const int32_t* product;
    int64_t column;
    int N;
    float* data;
};

template <class Format>
void pack_backward_panel(const CellCall& call, const BackwardPanel& panel) {
    const int64_t H = call.base.H, width = panel.N * V, n = std::min(width, H - panel.column);
    float* to = panel.data;
    for (int64_t sum = panel.product[2]; sum < panel.product[2] + panel.product[3]; ++sum)
        for (int64_t unit = 0; unit < call.P; unit += Format::depth, to += width) {  // depth divides P
            const float* rows[Format::depth];
            for (int d = 0; d < Format::depth; ++d) rows[d] = unit + d < H ? call.U[sum] + (unit + d) * H + panel.column : nullptr;
            std::fill(to, to + width, 0.0f);
            if (unit < H) Format::across(rows, n, to);
        }
}

struct CellBackwardRow {
    const float* grad_sums;  // words
    float* target;
    const float *next_slots, *next_grad_sums;  // of the step before, or null
};

// target = or += dz U, for M rows and the columns of a panel.
template <class Format, int M, int N>
__attribute__((noinline)) void cell_backward_tile(const CellCall& call, const CellBackwardRow* rows, int64_t length, const BackwardPanel& panel) {
    const float* grad_sums[M];
    vec sums[M][N];
    for (int m = 0; m < M; ++m) {
        grad_sums[m] = rows[m].grad_sums;
        EACH(N) sums[m][n] = vec{};
    }
    // The interpreter has no sums that could hide the time of waiting for what it reads at the next step.
    const auto prefetch = [&](const float* row, int64_t size) {
        if (row)
            for (int64_t k = size * panel.column / call.P, end = size * (panel.column + N * V) / call.P; k < end; k += 16) __builtin_prefetch(row + k, 0, 2);
    };
    for (int m = 0; m < M; ++m) {
        prefetch(rows[m].next_slots, slot_row(call));
        prefetch(rows[m].next_grad_sums, call.sums * call.P);
        multiply<Format, M, N>(grad_sums, length * (m + 1) / M, panel.data, sums, false, length * m / M);
    }
    for (int m = 0; m < M; ++m)
        EACH(N) {
            float* const to = rows[m].target + panel.column + n * V;
            store(to, panel.product[1] ? load(to) + sums[m][n] : sums[m][n]);
        }
}

template <class Format>
void cell_backward_rows(const CellCall& call, const Dropout& dropout, const Rows& thread_rows, const std::vector<BackwardPanel>& panels, float* grad_vector) {
    const int64_t B = call.base.B, width = call.sums * call.P;
    Machine machine(call, dropout, thread_rows);
    machine.grad_vectors = grad_vector;
    std::vector<CellBackwardRow> rows(thread_rows.size());
    Converted<Format> gradients(thread_rows.size(), width);
    for (int64_t t = call.base.end - 1; t >= call.base.begin; --t) {
        const int64_t active = machine.active = thread_rows.active(t);
        machine.t = t;
        for (int64_t r = active; r < thread_rows.size(); ++r)
            std::memset(call.grad_sums + ((t - call.base.begin) * B + thread_rows.rows[r]) * width, 0, width * sizeof(float));
        size_t panel = 0;
        bool fetched = t == call.base.begin;
        for (int64_t segment = 0, product = 0, begin = 0; segment < call.backward_segments; begin = call.backward_ends[segment++]) {
            machine.run(call.backward + 6 * begin, call.backward + 6 * call.backward_ends[segment]);
            for (; product < call.products_ends[segment]; ++product) {
                const int32_t* const p = call.products + 4 * product;
                const bool skip = p[0] >> 16 == carried && call.base.stop_at_first && t == 0;
                for (int64_t r = 0; r < active; ++r) {
                    const int64_t b = thread_rows.rows[r];
                    float* const grad_sums = machine.operand(grad_sum << 16, r).row(0);
                    rows[r] = {gradients.row(r, grad_sums + p[2] * call.P, p[3] * call.P), machine.operand(p[0], r).row(0), fetched ? nullptr : call.slot + ((t - 1) * B + b) * slot_row(call),
                               fetched ? nullptr : grad_sums - B * width};
                }
                fetched = true;
                for (; panel < panels.size() && panels[panel].product == p; ++panel) {
                    if (skip) continue;
                    in_blocks(active, tile_rows, [&](int64_t first, int count) {
                        with_constant<tile_rows>(count, [&](auto M) {
                            with_constant<4>(panels[panel].N, [&](auto N) {
                                cell_backward_tile<Format, decltype(M)::value, decltype(N)::value>(call, &rows[first], words<Format>(p[3] * call.P), panels[panel]);
                            });
                        });
                    });
                }
            }
        }
    }
}

// The rows (t, b) of the gradients of W and U of a group, those without operand, or with operand 0, last.
std::vector<WeightRow> cell_weight_rows(const CellCall& call, const int32_t* group) {
    std::vector<WeightRow> rows, without;
    const int64_t B = call.base.B, P = call.P, index = group[0] & 65535;
    for (int64_t t = call.base.begin; t < call.base.end; ++t)
        for (int64_t b = 0; b < B; ++b) {
            if (call.base.lengths && call.base.lengths[b] <= t) continue;
            const float* operand = nullptr;
            switch (group[0] >> 16) {
                case before_step: operand = history(call, index, t) + b * P; break;
                case after_step: operand = history(call, index, t + 1) + b * P; break;
                case in_slot: operand = call.slot + (t * B + b) * slot_row(call) + index * P; break;
                case vector: operand = call.vector + index * P; break;
                default: break;  // -1: none
            }
            if (operand && t == 0 && is_zero(operand, call.base.H)) operand = nullptr;
            const float* grad_sums = call.grad_sums + ((t - call.base.begin) * B + b) * call.sums * P + group[2] * P;
            (operand ? rows : without).push_back({grad_sums, operand, call.base.x + (t * B + b) * call.base.I});
        }
    if (group[1]) rows.insert(rows.end(), without.begin(), without.end());
    return rows;
}

template <class Format>
void cell_weight_gradients(const CellCall& call, const int32_t* group, const std::vector<WeightRow>& rows, int64_t part, int64_t parts) {
    const int64_t H = call.base.H, I = call.base.I, first = group[2] * call.P;
    const auto columns = [&](bool with_operand) {
        std::vector<Columns> all;
        const auto add = [&](const float* WeightRow::*from, int64_t width, float* to) {
            for (int64_t j = 0; j < width; j += V) all.push_back({from, j, static_cast<int>(std::min<int64_t>(V, width - j)), to + first * width, width});
        };
        if (with_operand) add(&WeightRow::h, H, call.grad_U);
        if (group[1]) add(&WeightRow::x, I, call.grad_W);
        return all;
    };
    weight_gradients<Format>(group[3] * call.P, rows, columns, part, parts);
}

template <class Format>
void cell_backward(const CellCall& call) {
    const Dropout dropout = dropout_of(call.base);
    const int64_t parts = parts_of(call.base), H = call.base.H, group_count = call.groups_ends[call.forward_segments - 1];
    std::vector<BackwardPanel> panels;
    int64_t size = 0;
    for (int64_t product = 0; product < call.products_ends[call.backward_segments - 1]; ++product)
        for (int64_t j = 0; j < H; j += 4 * V) {
            const int32_t* const p = call.products + 4 * product;
            panels.push_back({p, j, static_cast<int>(std::min<int64_t>(4, ceil_div(H - j, V))), nullptr});
            size += p[3] * call.P * panels.back().N * V;
        }
    const Buffer packed(size);
    float* at = packed.data;
    for (BackwardPanel& panel : panels) {
        panel.data = at;
        at += panel.product[3] * call.P * panel.N * V;
    }
    std::vector<std::vector<WeightRow>> rows(group_count);
    std::vector<std::vector<float>> grad_vectors(parts, std::vector<float>(call.vectors * call.P));
    std::atomic<size_t> next{0};
    std::atomic<int64_t> next_group{0};
    parallel(
        parts,
        [&](int64_t) {
            for (size_t p; (p = next++) < panels.size();) pack_backward_panel<Format>(call, panels[p]);
        },
        [&](int64_t part) { cell_backward_rows<Format>(call, dropout, Rows(call.base, part, parts), panels, grad_vectors[part].data()); },
        [&](int64_t) {
            for (int64_t group; (group = next_group++) < group_count;) rows[group] = cell_weight_rows(call, call.groups + 4 * group);
        },
        [&](int64_t part) {
            for (int64_t group = 0; group < group_count; ++group) cell_weight_gradients<Format>(call, call.groups + 4 * group, rows[group], part, parts);
        });
    for (const auto& partial : grad_vectors)
        for (int64_t k = 0; k < call.vectors * call.P; ++k) call.grad_vector[k] += partial[k];
}

}  // namespace
