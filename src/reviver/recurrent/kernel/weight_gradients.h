// Gradients of matrices from the gradients of the sums of products.

#pragma once

#include "rows.h"

namespace {

// grad_U += sum over rows (t, b) of grad_sums^T operand, and the same with x for grad_W.
struct WeightRow { const float *grad_sums, *operand, *x; };  // operand is null if it is 0

// M of the rows of grad_U and grad_W, from `first`.
struct Tile { int64_t first; int M; };
constexpr int packed_width = 8;  // a tile is packed as words [K, 8], of which M are used: one move instead of several
constexpr int64_t tile_size(int64_t K) { return K * packed_width + 16; }  // not a power of 2, so that tiles do not share cache sets
static_assert(weight_tile_rows <= packed_width, "packed_width must be at least weight_tile_rows");

// V columns of grad_U or grad_W, of which `count` exist. A panel of up to `weight_tile_vectors` of them may hold both kinds.
struct Columns {
    const float* WeightRow::*from;  // operand or x
    int64_t first;
    int count;
    float* to;      // grad_U or grad_W
    int64_t width;  // H or I
};

// Adds left^T right to M rows from `first` of N groups of columns, in words: left is [K, 8], right [K, N, V].
template <class Format, int M, int N>
__attribute__((noinline)) void weight_tile(const float* left, const float* right, int64_t K, const Columns* columns, int64_t first) {
    const float* rows[M];
    vec sums[M][N];
    const auto address = [&](int m, int n) { return columns[n].to + (first + m) * columns[n].width + columns[n].first; };
    for (int m = 0; m < M; ++m) {
        rows[m] = left + m;
        for (int n = 0; n < N; ++n) {
            sums[m][n] = vec{};
            __builtin_prefetch(address(m, n), 1);
        }
    }
    multiply<Format, M, N, packed_width>(rows, K, right, sums);
    for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) {
            float* sum = address(m, n);
            store(sum, load(sum, columns[n].count) + sums[m][n], columns[n].count);
        }
}

// Converts rows k to k + depth - 1, which row(k) points to, to n words; rows from `end` on are 0.
template <class Format, class Row>
INLINE void words_across(const Row& row, int64_t k, int64_t end, int64_t n, float* to) {
    const float* rows[Format::depth];
    for (int d = 0; d < Format::depth; ++d) rows[d] = k + d < end ? row(k + d) : nullptr;
    Format::across(rows, n, to);
}

// The same with AMX: left is [K / 16, 16, 16].
void weight_tile_with_amx(const Amx& amx, const float* left, const float* right, int64_t K, const Columns* columns, int N, const Tile& tile) {
    alignas(64) float sums[Amx::max_rows * weight_tile_vectors * V];
    amx.multiply({{left, amx_words, amx_words * amx_words, K, right}}, N, sums);
    for (int m = 0; m < tile.M; ++m)
        for (int n = 0; n < N; ++n) {
            float* sum = columns[n].to + (tile.first + m) * columns[n].width + columns[n].first;
            for (int v = 0; v < columns[n].count; ++v) sum[v] += sums[(m * N + n) * V + v];
        }
}

// Adds the sums over K rows to the rows of the tiles in N groups of columns. left is packed in words, one tile [K, 8]
// after another, or for AMX [K / 16, 16, 16].
template <class Format, int N>
void add_matmul(const Amx* amx, const float* left, const std::vector<Tile>& tiles, int64_t K, const WeightRow* rows, const Columns* columns, float* panel) {
    const int64_t length = words<Format>(K), in_memory = padded<Format>(K);
    std::fill(panel + length * N * V, panel + in_memory * N * V, 0.0f);
    for (int64_t k = 0; k < length; ++k)
        for (int n = 0; n < N; ++n) {
            const auto numbers = [&](int64_t row) { return rows[row].*columns[n].from + columns[n].first; };
            float* words = panel + (k * N + n) * V;
            store(words, vec{});
            words_across<Format>(numbers, k * Format::depth, K, columns[n].count, words);
        }
    for (const Tile& tile : tiles)
        if (amx) {
            weight_tile_with_amx(*amx, left, panel, in_memory, columns, N, tile);
            left += in_memory * Amx::max_rows;
        } else {
            with_constant<weight_tile_rows>(tile.M, [&](auto M) { weight_tile<Format, decltype(M)::value, N>(left, panel, length, columns, tile.first); });
            left += tile_size(length);
        }
}

// The part of grad_U and grad_W of one thread: some of their `all_rows` rows, summed over all steps and the
// whole batch. columns_for(with_operand) returns their columns.
template <class Format, class ColumnsOf>
void weight_gradients(int64_t all_rows, const std::vector<WeightRow>& rows, const ColumnsOf& columns_for, int64_t part, int64_t parts) {
    Amx tile_registers;
    const Amx* const amx = prefers_amx<Format>(static_cast<int64_t>(rows.size())) ? &tile_registers : nullptr;
    if (amx) tile_registers.set_rows(Amx::max_rows);
    const int64_t height = amx ? Amx::max_rows : weight_tile_rows;
    const int64_t first = all_rows * part / parts, last = all_rows * (part + 1) / parts;
    constexpr int64_t block = 256;  // words at a time, so that a panel and the tiles stay in the cache
    constexpr int64_t max_lines = 16;
    const int64_t lines = amx ? max_lines : 8;  // words of a tile that are packed one after another: it is written line by line
    const int64_t line_width = last - first + Amx::max_rows;
    std::vector<Tile> tiles;
    in_blocks(last - first, height, [&](int64_t row, int count) { tiles.push_back({first + row, count}); });
    const auto tile_count = static_cast<int64_t>(tiles.size());
    const Buffer left(tile_count * (amx ? block * Amx::max_rows : tile_size(block))), panel(block * weight_tile_vectors * V), converted(Format::converts ? lines * line_width : 0);
    const auto with_operand = std::partition_point(rows.begin(), rows.end(), [](const WeightRow& row) { return row.operand; }) - rows.begin();
    const auto n = static_cast<int64_t>(rows.size());
    for (int64_t begin = 0, end; begin < n; begin = end) {
        end = std::min(begin + block * Format::depth, begin < with_operand ? static_cast<int64_t>(with_operand) : n);
        const WeightRow* block_rows = &rows[begin];
        const int64_t K = end - begin, length = words<Format>(K);
        for (int64_t k = 0; k < length; k += lines) {
            const int64_t count = std::min(lines, length - k);
            const float* from[max_lines];  // grad_sums in words, from the first tile on
            for (int64_t r = 0; r < count; ++r) {
                from[r] = block_rows[k + r].grad_sums + first;
                if (Format::converts) {
                    float* line = converted.data + r * line_width;
                    words_across<Format>([&](int64_t row) { return block_rows[row].grad_sums + first; }, (k + r) * Format::depth, K, last - first, line);
                    from[r] = line;
                }
            }
            std::fill(from + count, from + lines, nullptr);
            float* packed = left.data + k * (amx ? Amx::max_rows : packed_width);
            for (const Tile& tile : tiles) {
                const int64_t offset = tile.first - first;
                if (amx) {
                    const float* columns[max_lines];
                    for (int r = 0; r < max_lines; ++r) columns[r] = from[r] ? from[r] + offset : nullptr;
                    transpose(columns, Amx::max_rows, packed, max_lines);
                    packed += padded<Format>(K) * Amx::max_rows;
                    continue;
                }
                for (int64_t r = 0; r < count; ++r) {
                    if (tile.first + packed_width <= all_rows)
                        std::memcpy(packed + r * packed_width, from[r] + offset, packed_width * sizeof(float));
                    else
                        std::memcpy(packed + r * packed_width, from[r] + offset, tile.M * sizeof(float));
                    if (!Format::converts && k + r + lines < length) __builtin_prefetch(block_rows[k + r + lines].grad_sums + tile.first);
                }
                packed += tile_size(length);
            }
        }
        const std::vector<Columns> columns = columns_for(begin < with_operand);
        in_blocks(static_cast<int64_t>(columns.size()), weight_tile_vectors, [&](int64_t j, int count) {
            with_constant<weight_tile_vectors>(count, [&](auto N) { add_matmul<Format, decltype(N)::value>(amx, left.data, tiles, K, block_rows, &columns[j], panel.data); });
        });
    }
}

}  // namespace
