// Vectors of V floats in a register, and σ and tanh on them.

#pragma once

#include <cstdint>
#include <cstring>

namespace {

#if defined(__AVX512F__)
constexpr int V = 16;          // floats in a register
constexpr int tile_rows = 6;   // 6 rows x 4 vectors of sums + 4 vectors of weights fit in 32 registers
#elif defined(__AVX2__)
constexpr int V = 8;
constexpr int tile_rows = 3;   // 16 registers
#else
constexpr int V = 4;
constexpr int tile_rows = 6;   // Arm has 32 registers
#endif

#define INLINE inline __attribute__((always_inline))

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

INLINE vec broadcast(float value) { return value - vec{}; }
INLINE vec clamp(vec x, float low, float high) {  // NaN stays NaN
    x = x < broadcast(low) ? broadcast(low) : x;
    return x > broadcast(high) ? broadcast(high) : x;
}

// exp(x) = scale * (1 + p): scale is a power of two, p = exp(r) - 1 for the remainder |r| <= ln(2) / 2 (polynomial of Cephes).
struct Exponential { vec scale, p; };
INLINE Exponential exponential(vec x) {
    const vec shifted = x * 1.44269504f + 12582912.0f;  // rounds x / ln 2 into the low bits
    const vec n = shifted - 12582912.0f;
    const vec r = x - n * 0.693359375f + n * 2.12194440e-4f;  // ln 2 in two parts
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r;
    const uvec power = ((uvec)shifted << 23) + 0x3f800000u;  // n becomes the exponent; casts between vectors keep the bits
    return {(vec)power, p};
}
// An undivided quotient n / d: division is slow, and two quotients can share one.
struct Quotient { vec n, d; };
INLINE Quotient sigmoid(vec z) {  // clamped to 44, so that the product of two denominators stays finite
    const Exponential e = exponential(clamp(-z, -44.0f, 44.0f));
    return {broadcast(1.0f), e.scale * e.p + (e.scale + 1.0f)};
}
INLINE Quotient tanh(vec z) {  // from exp(2z) - 1, which is accurate for small z
    const Exponential e = exponential(clamp(z + z, -20.0f, 20.0f));
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
