// The backward pass of a cell through time, and the gradients of its weights.

#pragma once

#include "program.h"
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
void pack_backward_panel(const Call& call, const BackwardPanel& panel) {
    const int64_t H = call.H, width = panel.N * V, n = std::min(width, H - panel.column);
    float* to = panel.data;
    if (n < width || H < call.P || Format::depth > 1) std::fill(to, to + padded<Format>(panel.product[3] * call.P) * width, 0.0f);
    for (int64_t sum = panel.product[2]; sum < panel.product[2] + panel.product[3]; ++sum)
        for (int64_t unit = 0; unit < call.P; unit += Format::depth, to += width) {  // depth divides P
            const float* const U = matrix_of(call, call.plan->U + 2 * sum, H);
            const float* rows[Format::depth];
            for (int d = 0; d < Format::depth; ++d) rows[d] = unit + d < H ? U + (unit + d) * H + panel.column : nullptr;
            if (unit < H) Format::across(rows, n, to);
        }
}

struct BackwardRow {
    const float* grad_sums;  // words
    float* target;
    const float *next_slots, *next_grad_sums;  // of the step before, or null
};

// Fetches what the interpreter reads at the next step, which has no sums that could hide the time of waiting.
INLINE void prefetch(const Call& call, const BackwardRow& row, const BackwardPanel& panel) {
    const auto fetch = [&](const float* from, int64_t size) {
        if (from)
            for (int64_t k = size * panel.column / call.P, end = size * (panel.column + panel.N * V) / call.P; k < end; k += 16) __builtin_prefetch(from + k, 0, 2);
    };
    fetch(row.next_slots, slot_row(call));
    fetch(row.next_grad_sums, call.plan->sums * call.P);
}

// target = or += dz U, for M rows and the columns of a panel.
template <class Format, int M, int N>
__attribute__((noinline)) void backward_tile(const Call& call, const BackwardRow* rows, int64_t length, const BackwardPanel& panel) {
    const float* grad_sums[M];
    vec sums[M][N];
    for (int m = 0; m < M; ++m) {
        grad_sums[m] = rows[m].grad_sums;
        EACH(N) sums[m][n] = vec{};
    }
    for (int m = 0; m < M; ++m) {
        prefetch(call, rows[m], panel);
        multiply<Format, M, N>(grad_sums, length * (m + 1) / M, panel.data, sums, false, length * m / M);
    }
    for (int m = 0; m < M; ++m)
        EACH(N) {
            float* const to = rows[m].target + panel.column + n * V;
            store(to, panel.product[1] ? load(to) + sums[m][n] : sums[m][n]);
        }
}

// The same for up to `Amx::max_rows` rows.
template <class Format>
void backward_with_amx(const Call& call, const Amx& amx, const BackwardRow* rows, int64_t count, int64_t row_length, int64_t length, const BackwardPanel& panel) {
    alignas(64) float sums[Amx::max_rows * 4 * V];
    for (int64_t r = 0; r < count; ++r) prefetch(call, rows[r], panel);
    amx.multiply({{rows->grad_sums, row_length, amx_words, length, panel.data}}, panel.N, sums);
    for (int64_t r = 0; r < count; ++r)
        for (int64_t k = 0; k < panel.N * V; k += V) {
            float* const to = rows[r].target + panel.column + k;
            const vec sum = load(sums + r * panel.N * V + k);
            store(to, panel.product[1] ? load(to) + sum : sum);
        }
}

template <class Format>
void backward_rows(const Call& call, const Dropout& dropout, const Rows& thread_rows, const float* table, const std::vector<BackwardPanel>& panels, float* grad_vector) {
    const Plan& plan = *call.plan;
    const int64_t B = call.B, P = call.P, width = plan.sums * P;
    Machine machine(call, dropout, thread_rows, table, {0, P, nullptr, 1}, nullptr);
    machine.grad_vectors = grad_vector;
    std::vector<BackwardRow> rows(thread_rows.size());
    Converted<Format> gradients(thread_rows.size(), width);
    Amx amx;
    for (int64_t s = 0; s < call.end - call.begin; ++s) {
        const int64_t t = call.reverse ? call.begin + s : call.end - 1 - s, active = machine.active = thread_rows.active(t);
        machine.t = t;
        const auto grad_sums_of = [&](int64_t r) { return call.grad_sums + ((t - call.begin) * B + thread_rows.rows[r]) * width; };
        for (int64_t r = active; r < thread_rows.size(); ++r) std::memset(grad_sums_of(r), 0, width * sizeof(float));
        size_t panel = 0;
        bool fetched = s + 1 == call.end - call.begin;
        for (int64_t segment = 0, product = 0; segment < plan.backward_segments; ++segment) {
            machine.run({plan.backward, plan.backward_ends, plan.backward_places, plan.backward_places_ends, segment});
            if (P != call.H)  // padded units, which may be anything, must not enter products
                for (int64_t r = 0; r < active; ++r)
                    for (int64_t sum = 0; sum < plan.sums; ++sum) std::fill(grad_sums_of(r) + sum * P + call.H, grad_sums_of(r) + (sum + 1) * P, 0.0f);
            for (; product < plan.products_ends[segment]; ++product) {
                const int32_t* const p = plan.products + 4 * product;
                const bool skip = p[0] >> 16 == carried && call.stop_at_first && s + 1 == call.end - call.begin;
                const auto target = machine.operand(p[0]);
                const int64_t step = previous(call, t) - t;
                for (int64_t r = 0; r < active; ++r) {
                    float* const grad_sums = grad_sums_of(r);
                    rows[r] = {gradients.row(r, grad_sums + p[2] * P, p[3] * P), machine.address(target, r),
                               fetched ? nullptr : call.slot + ((t + step) * B + thread_rows.rows[r]) * slot_row(call), fetched ? nullptr : grad_sums + step * B * width};
                }
                fetched = true;
                const int64_t length = words<Format>(p[3] * P);
                for (; panel < panels.size() && panels[panel].product == p; ++panel) {
                    if (skip) continue;
                    const BackwardPanel& here = panels[panel];
                    if (prefers_amx<Format>(active))
                        in_amx_blocks(amx, active, [&](int64_t first, int64_t count) { backward_with_amx<Format>(call, amx, &rows[first], count, padded<Format>(width), padded<Format>(p[3] * P), here); });
                    else
                        in_blocks(active, tile_rows, [&](int64_t first, int count) {
                            with_constant<tile_rows>(count, [&](auto M) {
                                with_constant<4>(here.N, [&](auto N) { backward_tile<Format, decltype(M)::value, decltype(N)::value>(call, &rows[first], length, here); });
                            });
                        });
                }
            }
        }
    }
}

// The rows (t, b) of the gradients of W and U of a group, those without operand, or with operand 0, last.
std::vector<WeightRow> weight_rows(const Call& call, const float* table, const int32_t* group) {
    std::vector<WeightRow> rows, without;
    const int64_t B = call.B, P = call.P, index = group[0] & 65535;
    rows.reserve((call.end - call.begin) * B);
    for (int64_t t = call.begin; t < call.end; ++t)
        for (int64_t b = 0; b < B; ++b) {
            const int64_t length = call.lengths ? call.lengths[b] : call.T;
            if (length <= t) continue;
            const bool first = is_first(call, t, length);
            const float* operand = nullptr;
            switch (group[0] >> 16) {
                case before_step: operand = first ? call.initial[index] + b * P : history(call, index, previous(call, t)) + b * P; break;
                case after_step: operand = history(call, index, t) + b * P; break;
                case in_slot: operand = call.slot + (t * B + b) * slot_row(call) + index * P; break;
                case vector: operand = table + index * P; break;
                default: break;  // -1: none
            }
            if (operand && first && is_zero(operand, call.H)) operand = nullptr;
            const float* grad_sums = call.grad_sums + ((t - call.begin) * B + b) * call.plan->sums * P + group[2] * P;
            (operand ? rows : without).push_back({grad_sums, operand, call.x + (t * B + b) * call.I});
        }
    if (group[1]) rows.insert(rows.end(), without.begin(), without.end());
    return rows;
}

template <class Format>
void group_weight_gradients(const Call& call, const int32_t* group, const std::vector<WeightRow>& rows, int64_t part, int64_t parts) {
    const int64_t first = group[2] * call.P;
    const auto columns = [&](bool with_operand) {
        std::vector<Columns> all;
        const auto add = [&](const float* WeightRow::*from, int64_t width, float* to) {
            for (int64_t j = 0; j < width; j += V) all.push_back({from, j, static_cast<int>(std::min<int64_t>(V, width - j)), to + first * width, width});
        };
        if (with_operand) add(&WeightRow::operand, call.H, call.grad_U);
        if (group[1]) add(&WeightRow::x, call.I, call.grad_W);
        return all;
    };
    weight_gradients<Format>(group[3] * call.P, rows, columns, part, parts);
}

template <class Format>
void backward(const Call& call) {
    const Plan& plan = *call.plan;
    const Dropout dropout = dropout_of(call);
    const int64_t parts = parts_of(call), H = call.H, P = call.P, group_count = plan.groups_ends[plan.forward_segments - 1];
    const std::vector<float> table = table_of(call);
    std::vector<BackwardPanel> panels;
    int64_t size = 0;
    const auto panel_size = [&](const BackwardPanel& panel) { return padded<Format>(panel.product[3] * P) * panel.N * V; };
    for (int64_t product = 0; product < plan.products_ends[plan.backward_segments - 1]; ++product)
        for (int64_t j = 0; j < H; j += 4 * V) {
            panels.push_back({plan.products + 4 * product, j, static_cast<int>(std::min<int64_t>(4, ceil_div(H - j, V))), nullptr});
            size += panel_size(panels.back());
        }
    const Buffer packed(size);
    float* at = packed.data;
    for (BackwardPanel& panel : panels) {
        panel.data = at;
        at += panel_size(panel);
    }
    std::vector<std::vector<WeightRow>> rows(group_count);
    std::vector<std::vector<float>> grad_vectors(parts, std::vector<float>(plan.vectors * P));
    std::atomic<size_t> next{0};
    std::atomic<int64_t> next_group{0};
    parallel(
        parts,
        [&](int64_t) {
            for (size_t p; (p = next++) < panels.size();) pack_backward_panel<Format>(call, panels[p]);
        },
        [&](int64_t part) { backward_rows<Format>(call, dropout, Rows(call, part, parts), table.data(), panels, grad_vectors[part].data()); },
        [&](int64_t) {
            for (int64_t group; (group = next_group++) < group_count;) rows[group] = weight_rows(call, table.data(), plan.groups + 4 * group);
        },
        [&](int64_t part) {
            for (int64_t group = 0; group < group_count; ++group) group_weight_gradients<Format>(call, plan.groups + 4 * group, rows[group], part, parts);
        });
    for (const auto& partial : grad_vectors)
        for (int64_t k = 0; k < plan.vectors * P; ++k) call.grad_vector[k] += partial[k];
}

}  // namespace
