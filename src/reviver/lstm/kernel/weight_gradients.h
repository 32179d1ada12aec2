// Gradients of W and U from the gradients of the sums inside the gates.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#include "call.h"
#include "matmul.h"
#include "rows.h"
#include "vectors.h"

namespace {

// grad_U += sum over rows (t, b) of grad_gates^T h_before, and the same with x for grad_W.
struct WeightRow { const float *grad_gates, *h, *x; };  // h is null if it is 0

// All active rows (t, b), those without h last.
std::vector<WeightRow> weight_rows(const Call& call, bool h_is_zero) {
    std::vector<WeightRow> rows, without_h;
    rows.reserve((call.end - call.begin) * call.B);
    for (int64_t t = call.begin; t < call.end; ++t)
        for (int64_t b = 0; b < call.B; ++b) {
            const int64_t length = call.lengths ? call.lengths[b] : call.T;
            if (length <= t) continue;
            const int64_t tb = t * call.B + b;
            const float* h = before(call, call.h, call.output, 0, t, b, length);
            const bool zero = h_is_zero && h == call.h + b * call.H;
            const float* grad_gates = call.grad_gates + (tb - call.begin * call.B) * 4 * call.H;
            (zero ? without_h : rows).push_back({grad_gates, zero ? nullptr : h, call.x + tb * call.I});
        }
    rows.insert(rows.end(), without_h.begin(), without_h.end());
    return rows;
}

// M of the 4H rows of grad_U and grad_W, from `first`.
struct Tile { int64_t first; int M; };
constexpr int packed_width = 8;  // a tile is packed as words [K, 8], of which M are used: one move instead of several
constexpr int64_t tile_size(int64_t K) { return K * packed_width + 16; }  // not a power of 2, so that tiles do not share cache sets
static_assert(tile_rows <= packed_width, "packed_width must be at least tile_rows");

// to [M rows of `width` <= N V columns, of a matrix with `columns`] += left^T right, in words: left is [K, 8], right [K, N, V].
template <class Format, int M, int N>
__attribute__((noinline)) void weight_tile(const float* left, const float* right, int64_t K, float* to, int64_t columns, int64_t width) {
    const float* rows[M];
    vec sums[M][N];
    for (int m = 0; m < M; ++m) {
        rows[m] = left + m;
        for (int n = 0; n < N; ++n) sums[m][n] = vec{};
    }
    multiply<Format, M, N, packed_width>(rows, K, right, sums);
    for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) {
            const int count = static_cast<int>(std::min<int64_t>(V, width - n * V));
            float* sum = to + m * columns + n * V;
            store(sum, load(sum, count) + sums[m][n], count);
        }
}

// Converts rows k to k + depth - 1, which row(k) points to, to n words; rows from `end` on are 0.
template <class Format, class Row>
INLINE void words_across(const Row& row, int64_t k, int64_t end, int64_t n, float* to) {
    const float* rows[Format::depth];
    for (int d = 0; d < Format::depth; ++d) rows[d] = k + d < end ? row(k + d) : nullptr;
    Format::across(rows, n, to);
}

// Adds left^T right to the rows of the tiles in `to` [4H, columns], summed over K rows. left is packed in words, one
// tile [K, 8] after another; `right_row(k)` has `columns` numbers.
template <class Format, class RightRow>
void add_matmul(const float* left, const std::vector<Tile>& tiles, int64_t K, const RightRow& right_row, int64_t columns, float* panel, float* to) {
    const int64_t length = words<Format>(K);
    for (int64_t j = 0; j < columns; j += 4 * V) {
        const int64_t N = std::min<int64_t>(4, ceil_div(columns - j, V)), width = std::min(N * V, columns - j);
        for (int64_t k = 0; k < length; ++k) {
            float* line = panel + k * N * V;
            words_across<Format>([&](int64_t row) { return right_row(row) + j; }, k * Format::depth, K, width, line);
            std::fill(line + width, line + N * V, 0.0f);
        }
        const float* packed = left;
        for (const Tile& tile : tiles) {
            with_rows(tile.M, [&](auto rows_in_tile) {
                constexpr int M = decltype(rows_in_tile)::value;
                float* sums = to + tile.first * columns + j;
                switch (N) {
                    case 1: return weight_tile<Format, M, 1>(packed, panel, length, sums, columns, width);
                    case 2: return weight_tile<Format, M, 2>(packed, panel, length, sums, columns, width);
                    case 3: return weight_tile<Format, M, 3>(packed, panel, length, sums, columns, width);
                    case 4: return weight_tile<Format, M, 4>(packed, panel, length, sums, columns, width);
                }
            });
            packed += tile_size(length);
        }
    }
}

// The part of grad_U and grad_W of one thread: some of their 4H rows, summed over all steps and the whole batch.
template <class Format>
void weight_gradients(const Call& call, const std::vector<WeightRow>& rows, int64_t part, int64_t parts) {
    const int64_t first = 4 * call.H * part / parts, last = 4 * call.H * (part + 1) / parts;
    constexpr int64_t block = 256;  // words at a time, so that a panel and the tiles stay in the cache
    std::vector<Tile> tiles;
    in_blocks(last - first, [&](int64_t row, int count) { tiles.push_back({first + row, count}); });
    const auto tile_count = static_cast<int64_t>(tiles.size());
    const Buffer left(tile_count * tile_size(block)), panel(block * 4 * V), line(last - first + packed_width);
    const auto with_h = std::partition_point(rows.begin(), rows.end(), [](const WeightRow& row) { return row.h; }) - rows.begin();
    const auto n = static_cast<int64_t>(rows.size());
    for (int64_t begin = 0, end; begin < n; begin = end) {
        end = std::min(begin + block * Format::depth, begin < with_h ? static_cast<int64_t>(with_h) : n);
        const WeightRow* block_rows = &rows[begin];
        const int64_t K = end - begin, length = words<Format>(K);
        for (int64_t k = 0; k < length; ++k) {
            const float* from = block_rows[k].grad_gates + first;
            if (Format::converts) {
                words_across<Format>([&](int64_t row) { return block_rows[row].grad_gates + first; }, k * Format::depth, K, last - first, line.data);
                from = line.data;
            }
            float* packed = left.data + k * packed_width;
            for (const Tile& tile : tiles) {
                if (tile.first + packed_width <= 4 * call.H)
                    std::memcpy(packed, from + (tile.first - first), packed_width * sizeof(float));
                else
                    std::memcpy(packed, from + (tile.first - first), tile.M * sizeof(float));
                packed += tile_size(length);
            }
        }
        if (begin < with_h)
            add_matmul<Format>(left.data, tiles, K, [&](int64_t k) { return block_rows[k].h; }, call.H, panel.data, call.grad_U);
        add_matmul<Format>(left.data, tiles, K, [&](int64_t k) { return block_rows[k].x; }, call.I, panel.data, call.grad_W);
    }
}

}  // namespace
