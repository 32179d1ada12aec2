// Vectors of V floats in a register, and what σ and tanh on them need.

#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX512F__)  // and with it __AVX512BF16__
#include <immintrin.h>
#endif

namespace {

// A tile of sums that is kept in registers, with the weights that it is multiplied by: `tile_rows` rows by 4 vectors,
// in gradients of weights `weight_tile_rows` by `weight_tile_vectors`.
#if defined(__AVX512F__)
constexpr int V = 16;  // floats in a register
constexpr int tile_rows = 6, weight_tile_rows = 8, weight_tile_vectors = 3;  // 24 of 32 registers
#elif defined(__AVX2__)
constexpr int V = 8;
constexpr int tile_rows = 3, weight_tile_rows = 4, weight_tile_vectors = 3;  // 12 of 16
#else
constexpr int V = 4;
constexpr int tile_rows = 6, weight_tile_rows = 8, weight_tile_vectors = 3;  // 24 of 32 on Arm
#endif

#define INLINE inline __attribute__((always_inline))
// A loop over n < N that is unrolled, so that arrays of vectors stay in registers.
#define EACH(N) _Pragma("GCC unroll 8") for (int n = 0; n < (N); ++n)

typedef float vec __attribute__((vector_size(4 * V)));
typedef uint32_t uvec __attribute__((vector_size(4 * V)));
typedef float vec_anywhere __attribute__((vector_size(4 * V), aligned(4), may_alias));

INLINE vec load(const float* from) { return *reinterpret_cast<const vec_anywhere*>(from); }
INLINE void store(float* to, vec value) { *reinterpret_cast<vec_anywhere*>(to) = value; }

// The same for the last units of a row, where only n < V floats may be accessed.
INLINE vec load(const float* from, int n) {
    if (n == V) return load(from);
    vec value = {};
    std::memcpy(&value, from, n * sizeof(float));
    return value;
}
INLINE void store(float* to, vec value, int n) {
    if (n == V) return store(to, value);
    std::memcpy(to, &value, n * sizeof(float));
}

// The first or second half of a_0 b_0 a_1 b_1 ...
INLINE vec interleave(vec a, vec b, int half) {
#if defined(__clang__)
    vec result;
    for (int v = 0; v < V; ++v) result[v] = (v % 2 ? b : a)[(half * V + v) / 2];
    return result;
#else
    uvec indices;
    for (int v = 0; v < V; ++v) indices[v] = (half * V + v) / 2 + v % 2 * V;
    return __builtin_shuffle(a, b, indices);
#endif
}
// Writes V rows [length], or null for 0, as columns: to[k * stride + v] = rows[v][k].
inline void transpose(const float* const* rows, int64_t length, float* to, int64_t stride) {
    for (int64_t k = 0; k < length; k += V) {
        const int n = static_cast<int>(length - k < V ? length - k : V);
        vec block[V], shuffled[V];
        for (int v = 0; v < V; ++v) block[v] = rows[v] ? load(rows[v] + k, n) : vec{};
        for (int round = 1; round < V; round *= 2) {
#pragma GCC unroll 16
            for (int v = 0; v < V; ++v) shuffled[v] = interleave(block[v / 2], block[(v + V) / 2], v % 2);
#pragma GCC unroll 16
            for (int v = 0; v < V; ++v) block[v] = shuffled[v];
        }
        for (int v = 0; v < n; ++v) store(to + (k + v) * stride, block[v]);
    }
}

INLINE vec broadcast(float value) { return value - vec{}; }
// x within [low, high]; NaN stays NaN.
INLINE vec clamp(vec x, float low, float high) {
#if defined(__AVX512F__)  // one instruction each, where the compiler would compare and blend
    return (vec)_mm512_min_ps((__m512)broadcast(high), _mm512_max_ps((__m512)broadcast(low), (__m512)x));
#else
    x = x < broadcast(low) ? broadcast(low) : x;
    return x > broadcast(high) ? broadcast(high) : x;
#endif
}

// exp(x) = scale * (1 + p): scale is a power of two, p = exp(r) - 1 for the remainder |r| <= ln(2) / 2 (polynomial of Cephes).
// N of them at a time: a single chain of dependent operations would leave most of the arithmetic units idle.
struct Exponential { vec scale, p; };
template <int N>
INLINE void exponentials(const vec (&x)[N], Exponential (&e)[N]) {
    vec shifted[N], r[N], p[N];
    EACH(N) shifted[n] = x[n] * 1.44269504f + 12582912.0f;  // rounds x / ln 2 into the low bits
    EACH(N) {
        const vec multiple = shifted[n] - 12582912.0f;
        r[n] = x[n] - multiple * 0.693359375f + multiple * 2.12194440e-4f;  // ln 2 in two parts
    }
    EACH(N) p[n] = r[n] * 1.9875691500e-4f + 1.3981999507e-3f;
    EACH(N) p[n] = p[n] * r[n] + 8.3334519073e-3f;
    EACH(N) p[n] = p[n] * r[n] + 4.1665795894e-2f;
    EACH(N) p[n] = p[n] * r[n] + 1.6666665459e-1f;
    EACH(N) p[n] = p[n] * r[n] + 5.0000001201e-1f;
    EACH(N) e[n].p = p[n] * (r[n] * r[n]) + r[n];
    EACH(N) e[n].scale = (vec)(((uvec)shifted[n] << 23) + 0x3f800000u);  // the multiple becomes the exponent; casts between vectors keep the bits
}

// An undivided quotient n / d: division is slow, and two quotients can share one.
struct Quotient { vec n, d; };
// σ(z) from exp(sigmoid_argument(z)), tanh(z) from exp(tanh_argument(z)).
INLINE vec sigmoid_argument(vec z) { return clamp(-z, -44.0f, 44.0f); }  // so that the product of two denominators stays finite
INLINE vec tanh_argument(vec z) { return clamp(z + z, -20.0f, 20.0f); }
INLINE Quotient sigmoid(Exponential e) { return {broadcast(1.0f), e.scale * e.p + (e.scale + 1.0f)}; }
INLINE Quotient tanh(Exponential e) {  // from exp(2z) - 1, which is accurate for small z
    const vec e_minus_1 = e.scale * e.p + (e.scale - 1.0f);
    return {e_minus_1, e_minus_1 + 2.0f};
}
INLINE vec divide(Quotient q) { return q.n / q.d; }
INLINE void divide(Quotient a, Quotient b, vec& first, vec& second) {
    const vec inverse = 1.0f / (a.d * b.d);
    first = a.n * b.d * inverse;
    second = b.n * a.d * inverse;
}

}  // namespace
