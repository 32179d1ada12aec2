// Matrix multiplication in registers, with float32 or bfloat16 operands.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include "amx.h"
#include "vectors.h"

namespace {

// Operands consist of words of the size of a float. A word holds `depth` numbers that are adjacent along the summed
// axis: one float, or in bf16 mode on a CPU with bfloat16 instructions a pair of bfloat16, the first in the low half.
// So both precisions share their loops, tiles and panels. Only these functions differ:
//   multiply_add(sum, word, words): sum + word * words, for each of the V words
//   along(from, n, to): converts n numbers that are adjacent along the summed axis to words
//   across(rows, n, to): converts `depth` rows that are adjacent along the summed axis to n words; a null row is 0
struct Float32 {
    static constexpr int depth = 1;
    static constexpr bool converts = false;  // a row of numbers is a row of words
    static INLINE vec multiply_add(vec sum, float word, vec words) { return sum + word * words; }
    static INLINE void along(const float* from, int64_t n, float* to) { std::memcpy(to, from, n * sizeof(float)); }
    static INLINE void across(const float* const* rows, int64_t n, float* to) {
        if (n == V) return store(to, load(rows[0]));
        std::memcpy(to, rows[0], n * sizeof(float));
    }
};

#if defined(__AVX512BF16__)

struct BFloat16 {
    static constexpr int depth = 2;
    static constexpr bool converts = true;
    static INLINE vec multiply_add(vec sum, float word, vec words) {
        return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_ps(word), (__m512bh)words);
    }
    static void along(const float* from, int64_t n, float* to) {
        for (int64_t k = 0; k < n; k += 2 * V) {
            const vec first = load(from + k, width(n - k)), second = n - k > V ? load(from + k + V, width(n - k - V)) : vec{};
            store(to + k / 2, (vec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first), width((n - k + 1) / 2));
        }
    }
    static void across(const float* const* rows, int64_t n, float* to) {
        for (int64_t k = 0; k < n; k += V) {
            const int count = width(n - k);
            const __m512i low = halves(load(rows[0] + k, count)), high = halves(rows[1] ? load(rows[1] + k, count) : vec{});
            store(to + k, (vec)_mm512_or_si512(low, _mm512_slli_epi32(high, 16)), count);
        }
    }

private:
    static INLINE int width(int64_t n) { return static_cast<int>(std::min<int64_t>(n, V)); }
    static INLINE __m512i halves(vec x) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)x)); }
};

#else

struct BFloat16 {  // without such instructions: rounded numbers, stored and multiplied as floats
    static constexpr int depth = 1;
    static constexpr bool converts = true;
    static INLINE vec multiply_add(vec sum, float word, vec words) { return sum + word * words; }
    static void along(const float* from, int64_t n, float* to) {
        for (int64_t k = 0; k < n; k += V) {
            const int count = static_cast<int>(std::min<int64_t>(n - k, V));
            const vec x = load(from + k, count);
            const uvec bits = (uvec)x;
            const uvec rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;  // to the nearest, ties to even
            store(to + k, x == x ? (vec)rounded : x, count);                            // NaN stays NaN
        }
    }
    static void across(const float* const* rows, int64_t n, float* to) { along(rows[0], n, to); }
};

#endif

template <class Format>
int64_t words(int64_t n) { return (n + Format::depth - 1) / Format::depth; }
// The length of the same in memory, where AMX may use it: words beyond the last are 0.
template <class Format>
int64_t padded(int64_t n) {
    constexpr int64_t multiple = Format::depth == 2 ? amx_words : 1;
    return (words<Format>(n) + multiple - 1) / multiple * multiple;
}
// Whether to multiply this number of rows by AMX: it takes as long for few rows as the vector instructions do.
template <class Format>
bool prefers_amx(int64_t rows) { return Format::depth == 2 && rows >= 8 && has_amx(); }

// sums[m][n] += sum over k of rows[m][stride * k] * panel[k][n], for begin <= k < end, in words; panel is [end, N, V].
// With from_last it adds from the last k to the first.
template <class Format, int M, int N, int stride = 1>
INLINE void multiply(const float* const* rows, int64_t end, const float* panel, vec (&sums)[M][N], bool from_last = false, int64_t begin = 0) {
    const int64_t step = from_last ? -1 : 1;
    for (int64_t k = from_last ? end - 1 : begin, count = end - begin; count > 0; k += step, --count) {
        vec weights[N];
        EACH(N) weights[n] = load(panel + (k * N + n) * V);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
            const float word = rows[m][stride * k];
            EACH(N) sums[m][n] = Format::multiply_add(sums[m][n], word, weights[n]);
        }
    }
}

}  // namespace
