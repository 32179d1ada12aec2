// The LSTM of network.py over a whole sequence, forward and backward, for float32 on a CPU; in bf16 mode the factors
// of its products are rounded to bfloat16 (see precision.py) and everything else stays float32.
//
// Shapes: B batch, T time, I input size, H hidden size; V floats in a vector register. Tensors are dense and
// row-major. Gates come in the order of the equations, i f c o, here with index 0 to 3.
//
// How it is made fast:
//   - Rows of the batch do not depend on each other: each thread takes its own rows through all steps, so that
//     the threads meet once per call and the recurrent weights stay in each core's cache.
//   - Weights are packed into panels in the order in which the products read them. A tile of up to `tile_rows`
//     rows times 4 vectors is summed in registers; in the forward pass the 4 vectors are the 4 gates of V units,
//     so the equations follow while everything is still in registers.
//   - Denormal numbers are flushed to zero: a gradient that vanishes over a long sequence would otherwise slow
//     every product up to eightfold.
//   - Dropout masks are functions of (seed, t, b, unit), see dropout.py; the backward pass computes them again.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__AVX512BF16__)
#include <immintrin.h>
#elif defined(__SSE__)
#include <xmmintrin.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

// ---------------------------------------------------------------------------------------------- vectors

#if defined(__AVX512F__)
constexpr int V = 16;          // floats in a register
constexpr int tile_rows = 6;   // 6 rows x 4 vectors of sums + 4 of weights fit the 32 registers
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

// The same for the last units of a row, where only n < V floats may be touched.
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

INLINE vec all(float value) { return value - vec{}; }
INLINE vec clamp(vec x, float low, float high) {  // NaN stays NaN
    x = x < all(low) ? all(low) : x;
    return x > all(high) ? all(high) : x;
}

// exp(x) = scale * (1 + p): scale is a power of two, p = exp(r) - 1 for the rest |r| <= ln(2) / 2 (Cephes' polynomial).
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
    const uvec power = ((uvec)shifted << 23) + 0x3f800000u;  // n becomes the exponent: a cast of vectors keeps the bits
    return {(vec)power, p};
}
// A quotient n / d that is yet to be divided: divisions are slow, and two quotients can share one.
struct Quotient { vec n, d; };
INLINE Quotient sigmoid(vec z) {  // up to 44, so that the product of two denominators stays finite
    const Exponential e = exponential(clamp(-z, -44.0f, 44.0f));
    return {all(1.0f), e.scale * e.p + (e.scale + 1.0f)};
}
INLINE Quotient tanh(vec z) {  // by exp(2z) - 1, which keeps all digits of a small z
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

// --------------------------------------------------------------------------------------------- products

// The factors of a product are made of words of the size of a float. A word holds `depth` numbers that follow each
// other along the sum: one float, or in bf16 mode on a CPU that multiplies bfloat16 a pair of them, the first in the
// low half. So both precisions share their loops, tiles and panels; only what is below differs.
//   multiply_add(sum, word, words): sum + word * words, for each of the V words
//   along(from, n, to): n numbers, which follow each other along the sum, as words
//   across(rows, n, to): n words, each made of the numbers that stand one below the other in `depth` rows; a row that is
//     null counts as 0
struct Float32 {
    static constexpr int depth = 1;
    static constexpr bool converts = false;  // a row of numbers is a row of words already
    static INLINE vec multiply_add(vec sum, float word, vec words) { return sum + word * words; }
    static INLINE void along(const float* from, int64_t n, float* to) { std::memcpy(to, from, n * sizeof(float)); }
    static INLINE void across(const float* const* rows, int64_t n, float* to) { std::memcpy(to, rows[0], n * sizeof(float)); }
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

struct BFloat16 {  // without such instructions: rounded numbers, kept and multiplied as floats
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

// sums[m][n] += sum over k of rows[m][stride * k] * panel[k][n], for k < length, in words; panel is [length, N, V]. It
// adds from k = 0 on, or from the last k back.
template <class Format, int M, int N, int stride = 1>
INLINE void multiply(const float* const* rows, int64_t length, const float* panel, vec (&sums)[M][N], bool from_last = false) {
    const int64_t step = from_last ? -1 : 1;
    for (int64_t k = from_last ? length - 1 : 0, count = length; count > 0; k += step, --count) {
        vec weights[N];
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) weights[n] = load(panel + (k * N + n) * V);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
            const float word = rows[m][stride * k];
#pragma GCC unroll 8
            for (int n = 0; n < N; ++n) sums[m][n] = Format::multiply_add(sums[m][n], word, weights[n]);
        }
    }
}

// ---------------------------------------------------------------------------------------------- dropout

enum Kind : int64_t { none, step, variational, zoneout, zoneout_mean };

// As mix64, row_keys and keep_mask in dropout.py: these must draw the same bits.
INLINE uint64_t mix64(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
INLINE uint64_t row_key(uint64_t seed, uint64_t t, uint64_t b) {
    return mix64(seed + ((t << 32) + b + 1) * 0x9e3779b97f4a7c15u);
}

struct Dropout {
    Kind kind;
    uint64_t seed;
    uint32_t threshold;  // a unit is dropped where its 32 bits are below p * 2^32
    float scale;         // of the units kept

    uint64_t key(int64_t t, int64_t b) const { return row_key(seed, kind == variational ? 0 : t, b); }

    // The mask of units j to j + V - 1 in the row with this key.
    INLINE vec mask(uint64_t key, int64_t j) const {
        if (kind == zoneout_mean) return all(scale);
        uvec x = static_cast<uint32_t>(j) + lanes();
        x = x * 0x9e3779b9u + static_cast<uint32_t>(key);
        x = (x ^ (x >> 16)) * 0x21f0aaadu;
        x += static_cast<uint32_t>(key >> 32);
        x = (x ^ (x >> 15)) * 0xd35a2d97u;
        x ^= x >> 15;
        return x < (threshold + uvec{}) ? vec{} : all(scale);
    }
    static INLINE uvec lanes() {
        uvec indices;
        for (int v = 0; v < V; ++v) indices[v] = v;
        return indices;
    }
};

// ---------------------------------------------------------------------------------------------- threads

// Denormal numbers count as zero while this lives, on this thread.
class FlushToZero {
#if defined(__SSE__)
    unsigned saved = _mm_getcsr();

public:
    FlushToZero() { _mm_setcsr(saved | 0x8040); }
    ~FlushToZero() { _mm_setcsr(saved); }
#elif defined(__aarch64__)
    uint64_t saved;

public:
    FlushToZero() {
        asm volatile("mrs %0, fpcr" : "=r"(saved));
        asm volatile("msr fpcr, %0" ::"r"(saved | (uint64_t{1} << 24)));
    }
    ~FlushToZero() { asm volatile("msr fpcr, %0" ::"r"(saved)); }
#else
public:
    FlushToZero() {}
    ~FlushToZero() {}
#endif
    FlushToZero(const FlushToZero&) = delete;
};

// Calls phase(0) to phase(parts - 1), each on a thread of its own where there are enough, and goes on to the next
// phase when all are done. Waking threads costs tens of microseconds, so all phases of a call share one awakening.
template <class... Phases>
void parallel(int64_t parts, const Phases&... phases) {
    if (parts == 1) {
        const FlushToZero while_running;
        return (phases(0), ...);
    }
#ifdef _OPENMP  // torch's own pool, see native.py
#pragma omp parallel num_threads(static_cast<int>(parts))
    {
        const FlushToZero while_running;
        const auto run = [&](const auto& phase) {
            for (int64_t part = omp_get_thread_num(); part < parts; part += omp_get_num_threads()) phase(part);
#pragma omp barrier
        };
        (run(phases), ...);
    }
#else
    const auto run = [&](const auto& phase) {
        const auto work = [&](int64_t part) {
            const FlushToZero while_running;
            phase(part);
        };
        std::vector<std::thread> threads;
        for (int64_t part = 1; part < parts; ++part) threads.emplace_back(work, part);
        work(0);
        for (auto& thread : threads) thread.join();
    };
    (run(phases), ...);
#endif
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

// ------------------------------------------------------------------------------------------------- call

// What a call works on; the same fields in the same order as `Call` in native.py. It processes the steps
// begin <= t < end; tensors marked [K, ...] hold the steps saved_begin <= t < saved_end, which include these.
struct Call {
    int64_t T, B, I, H, begin, end, saved_begin, saved_end;
    int64_t reverse;            // process the steps from end - 1 down to begin
    int64_t threads;
    int64_t kind;               // see Kind
    int64_t bf16;               // round the factors of the products to bfloat16
    double dropout;             // p
    const int64_t* seed;        // [1], or null for none and zoneout_mean
    const int64_t* lengths;     // [B], or null where all are T: row b takes part in steps t < lengths[b]
    const float* W[4];          // [H, I]
    const float* U[4];          // [H, H]
    const float* b[4];          // [H]
    const float* x;             // [T, B, I]
    const float* h;             // [B, H], before the first of the kept steps
    const float* c;             // [B, H]
    float* output;              // [T, B, H]: h after each step, 0 where a row takes no part
    float* gates;               // [K, B, 4, H] for the backward pass, or null
    float* cells;               // [K, B, H] c after each step, or null
    float* h_last;              // [B, H], after the last step
    float* c_last;              // [B, H]
    // The rest is for the backward pass alone.
    const float* grad_output;   // [T, B, H], or null for 0
    float* grad_h;              // [B, H], in: of the state after the steps; out: of the state before them
    float* grad_c;              // [B, H]
    float* grad_gates;          // [end - begin, B, 4, H], out: of the sums inside σ and tanh
    float* grad_W;              // [4, H, I], to which the gradient is added, as to the next two
    float* grad_U;              // [4, H, H]
    float* grad_b;              // [4, H]
    int64_t stop_at_first;      // the gradient of h before the first step is not wanted
};

namespace {

Dropout dropout_of(const Call& call) {
    const auto kind = static_cast<Kind>(call.kind);
    const double kept = 1.0 - call.dropout;
    const double threshold = std::min(call.dropout * 4294967296.0 + 0.5, 4294967295.0);
    const double scale = kind == zoneout ? 1.0 : kind == zoneout_mean ? kept : 1.0 / kept;
    return {kind, call.seed ? static_cast<uint64_t>(*call.seed) : 0, static_cast<uint32_t>(threshold), static_cast<float>(scale)};
}

// The rows of one thread, those with the longest sequences first, so that those which take part in a step come first.
struct Rows {
    std::vector<int64_t> rows, lengths;

    Rows(const Call& call, int64_t part, int64_t parts) {
        if (!call.lengths) {
            for (int64_t b = call.B * part / parts; b < call.B * (part + 1) / parts; ++b) rows.push_back(b);
            lengths.assign(rows.size(), call.T);
            return;
        }
        std::vector<int64_t> order(call.B);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return call.lengths[a] > call.lengths[b]; });
        for (int64_t k = part; k < call.B; k += parts) {
            rows.push_back(order[k]);
            lengths.push_back(call.lengths[order[k]]);
        }
    }
    int64_t size() const { return static_cast<int64_t>(rows.size()); }
    int64_t active(int64_t t) const {
        if (lengths.empty() || lengths.back() > t) return size();
        return std::partition_point(lengths.begin(), lengths.end(), [&](int64_t length) { return length > t; }) - lengths.begin();
    }
};

int64_t parts_of(const Call& call) {  // a thread should have at least some tens of microseconds of work
    const int64_t work = (call.end - call.begin) * call.B * 4 * call.H * (call.H + call.I);
    return std::max<int64_t>(1, std::min({call.threads, call.B, work / 500000}));
}

// The state of row b before step t: in `history`, which begins at step `base`, or in `initial` before the row's first step.
INLINE const float* before(const Call& call, const float* initial, const float* history, int64_t base, int64_t t, int64_t b, int64_t length) {
    const bool first = call.reverse ? t + 1 == std::min(length, call.saved_end) : t == call.saved_begin;
    const int64_t previous = call.reverse ? t + 1 : t - 1;
    return first ? initial + b * call.H : history + ((previous - base) * call.B + b) * call.H;
}

// Runs block(first, count) over n rows in blocks of nearly equal size, at most tile_rows.
template <class Block>
INLINE void in_blocks(int64_t n, const Block& block) {
    const int64_t blocks = ceil_div(n, tile_rows);
    for (int64_t k = 0; k < blocks; ++k) {
        const int64_t first = n * k / blocks;
        block(first, static_cast<int>(n * (k + 1) / blocks - first));
    }
}

// Calls kernel with `count` as a compile-time constant.
template <class Kernel>
INLINE void with_rows(int count, const Kernel& kernel) {
    switch (count) {
        case 1: return kernel(std::integral_constant<int, 1>());
        case 2: return kernel(std::integral_constant<int, 2>());
        case 3: return kernel(std::integral_constant<int, 3>());
#if !(defined(__AVX2__) && !defined(__AVX512F__))
        case 4: return kernel(std::integral_constant<int, 4>());
        case 5: return kernel(std::integral_constant<int, 5>());
        case 6: return kernel(std::integral_constant<int, 6>());
#endif
    }
}

bool is_zero(const float* values, int64_t n) {
    return std::all_of(values, values + n, [](float value) { return value == 0.0f; });
}

// Fresh memory is handed out in pages, which the kernel clears one by one; large pages cost it a quarter less.
void prefer_large_pages(void* memory, int64_t bytes) {
#if defined(__linux__)
    constexpr uintptr_t page = 2 << 20;
    const uintptr_t start = (reinterpret_cast<uintptr_t>(memory) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / page * page;
    if (memory && end > start + page) madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

struct Buffer {  // floats aligned to a cache line
    float* data;
    explicit Buffer(int64_t n) : data(static_cast<float*>(std::aligned_alloc(64, ceil_div(n * 4, 64) * 64 + 64))) {}
    ~Buffer() { std::free(data); }
    Buffer(const Buffer&) = delete;
};

// Rows of numbers as rows of words, converted into room of their own where words are not the numbers themselves.
template <class Format>
class Converted {
    const int64_t length;  // of a row, in words
    Buffer data;

public:
    Converted(int64_t rows, int64_t numbers) : length(words<Format>(numbers)), data(Format::converts ? rows * length : 0) {}
    const float* row(int64_t r, const float* from, int64_t n) {
        if (!Format::converts) return from;
        Format::along(from, n, data.data + r * length);
        return data.data + r * length;
    }
};

// Calls work(format) with the format of a call's products.
template <class Work>
void with_format(const Call& call, const Work& work) {
    call.bf16 ? work(BFloat16()) : work(Float32());
}

// ---------------------------------------------------------------------------------------------- forward

// The panel of units j to j + V - 1: b [4, V], and in words W [I, 4, V], U [H, 4, V], zero beyond H.
template <class Format>
int64_t forward_panel_size(const Call& call) { return (1 + words<Format>(call.I) + words<Format>(call.H)) * 4 * V; }

void transpose(const float* const* rows, int64_t length, float* to) {  // V rows [length], or null for 0, to [length, 4, V]
    for (int v = 0; v < V; ++v)
        for (int64_t k = 0; k < length; ++k) to[k * 4 * V + v] = rows[v] ? rows[v][k] : 0.0f;
}

// W or U of each gate, for units j to j + V - 1, in words [columns, 4, V].
template <class Format>
void pack_transposed(const Call& call, const float* const* matrices, int64_t columns, int64_t j, float* to) {
    Converted<Format> converted(V, columns);
    for (int gate = 0; gate < 4; ++gate) {
        const float* rows[V];
        for (int64_t v = 0; v < V; ++v)
            rows[v] = j + v < call.H ? converted.row(v, matrices[gate] + (j + v) * columns, columns) : nullptr;
        transpose(rows, words<Format>(columns), to + gate * V);
    }
}

template <class Format>
void pack_forward(const Call& call, int64_t j, float* panel) {
    const int n = static_cast<int>(std::min<int64_t>(V, call.H - j));
    for (int gate = 0; gate < 4; ++gate) store(panel + gate * V, load(call.b[gate] + j, n));
    pack_transposed<Format>(call, call.W, call.I, j, panel + 4 * V);
    pack_transposed<Format>(call, call.U, call.H, j, panel + 4 * V * (1 + words<Format>(call.I)));
}

struct ForwardRow {  // one row at one step
    const float *x, *h;  // words
    const float *h_before, *c;
    float *output, *gates, *cell;
    uint64_t key;
};

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
    const float *W = panel + 4 * V, *U = W + inputs * 4 * V;
    if (M == 1 && from_last) {
        multiply<Format, M, 4>(h, states, U, z, true);
        multiply<Format, M, 4>(x, inputs, W, z, true);
    } else {
        multiply<Format, M, 4>(x, inputs, W, z);
        multiply<Format, M, 4>(h, states, U, z);
    }

    const int n = static_cast<int>(std::min<int64_t>(V, call.H - j));
    for (int m = 0; m < M; ++m) {
        vec i, f, g, o;
        divide(sigmoid(z[m][0]), sigmoid(z[m][1]), i, f);
        divide(tanh(z[m][2]), sigmoid(z[m][3]), g, o);
        const vec c = f * load(rows[m].c + j, n) + i * g;
        vec h_new = o * divide(tanh(c));
        if (dropout.kind != none) {
            const vec mask = dropout.mask(rows[m].key, j);
            h_new *= mask;
            if (dropout.kind >= zoneout && rows[m].h_before) h_new += (1.0f - mask) * load(rows[m].h_before + j, n);
        }
        store(rows[m].output + j, h_new, n);
        store(rows[m].cell + j, c, n);
        if (float* gates = rows[m].gates) {
            store(gates + j, i, n);
            store(gates + call.H + j, f, n);
            store(gates + 2 * call.H + j, g, n);
            store(gates + 3 * call.H + j, o, n);
        }
    }
}

template <class Format>
void forward_rows(const Call& call, const Dropout& dropout, const Rows& mine, const float* panels, bool h_is_zero, const float* zeros) {
    const int64_t B = call.B, H = call.H;
    if (!call.cells)
        for (const int64_t b : mine.rows) std::memcpy(call.c_last + b * H, call.c + b * H, H * sizeof(float));

    std::vector<ForwardRow> rows(mine.size());
    Converted<Format> inputs(mine.size(), call.I), states(mine.size(), H);
    for (int64_t s = 0; s < call.end - call.begin; ++s) {
        const int64_t t = call.reverse ? call.end - 1 - s : call.begin + s;
        const int64_t active = mine.active(t);
        bool any_h = false;
        for (int64_t r = 0; r < active; ++r) {
            const int64_t b = mine.rows[r], tb = t * B + b, kb = tb - call.saved_begin * B;
            const float* h = before(call, call.h, call.output, 0, t, b, mine.lengths[r]);
            if (h_is_zero && h == call.h + b * H) h = nullptr;
            float* cell = call.cells ? call.cells + kb * H : call.c_last + b * H;
            const float* c = call.cells ? before(call, call.c, call.cells, call.saved_begin, t, b, mine.lengths[r]) : cell;
            any_h |= h != nullptr;
            rows[r] = {inputs.row(r, call.x + tb * call.I, call.I), h ? states.row(r, h, H) : nullptr, h, c, call.output + tb * H, call.gates ? call.gates + kb * 4 * H : nullptr,
                       cell, dropout.kind == none ? 0 : dropout.key(t, b)};
        }
        if (any_h)
            for (int64_t r = 0; r < active; ++r)
                if (!rows[r].h) rows[r].h = zeros;
        for (int64_t r = active; r < mine.size(); ++r)
            std::memset(call.output + (t * B + mine.rows[r]) * H, 0, H * sizeof(float));

        // One row alone reads all weights from the second-level cache at each step. Every other step goes from the last
        // panel back and finds in the first-level cache what the step before it read last.
        const bool from_last = call.B == 1 && s % 2 == 1;
        const int64_t panel_count = ceil_div(H, V);
        for (int64_t k = 0; k < panel_count; ++k) {
            const int64_t p = from_last ? panel_count - 1 - k : k;
            const float* panel = panels + p * forward_panel_size<Format>(call);
            in_blocks(active, [&](int64_t first, int count) {
                with_rows(count, [&](auto M) { forward_tile<Format, decltype(M)::value>(call, dropout, &rows[first], panel, p * V, from_last); });
            });
        }
    }

    for (int64_t r = 0; r < mine.size(); ++r) {
        const int64_t b = mine.rows[r], length = mine.lengths[r];
        const bool took_part = length > call.begin;
        const int64_t last = call.reverse ? call.begin : std::min(length, call.end) - 1;
        const float* h = took_part ? call.output + (last * B + b) * H : call.h + b * H;
        std::memcpy(call.h_last + b * H, h, H * sizeof(float));
        if (!call.cells) continue;
        const float* c = took_part ? call.cells + ((last - call.saved_begin) * B + b) * H : call.c + b * H;
        std::memcpy(call.c_last + b * H, c, H * sizeof(float));
    }
}

// --------------------------------------------------------------------------------------------- backward

// The panel of units j to j + 4V - 1: U, in words [4H, N, V] with N <= 4 vectors, zero beyond H.
template <class Format>
void pack_backward(const Call& call, int64_t j, float* panel) {
    const int64_t width = std::min<int64_t>(4, ceil_div(call.H - j, V)) * V;
    const int64_t n = std::min(width, call.H - j);
    for (int64_t k = 0; k < 4 * call.H; k += Format::depth, panel += width) {  // depth divides 4
        const float* rows[Format::depth];
        for (int d = 0; d < Format::depth; ++d) rows[d] = call.U[(k + d) / call.H] + (k + d) % call.H * call.H + j;
        Format::across(rows, n, panel);
        std::fill(panel + n, panel + width, 0.0f);
    }
}

struct BackwardRow {
    const float *gates, *c, *c_before, *grad_output;
    float *grad_h, *grad_c, *grad_gates;
    uint64_t key;
    const float* grad_words;  // grad_gates in words
};

// From the gradient of h and c after a step to that of the sums inside the gates and of c before the step. It
// leaves in grad_h what reaches h before the step past the gates: nothing but in zoneout.
void backward_gates(const Call& call, const Dropout& dropout, const BackwardRow& row, float* grad_b) {
    const int64_t H = call.H;
    for (int64_t j = 0; j < H; j += V) {
        const int n = static_cast<int>(std::min<int64_t>(V, H - j));
        const vec i = load(row.gates + j, n), f = load(row.gates + H + j, n);
        const vec g = load(row.gates + 2 * H + j, n), o = load(row.gates + 3 * H + j, n);
        const vec tanh_c = divide(tanh(load(row.c + j, n)));
        vec grad_h = load(row.grad_h + j, n);
        if (row.grad_output) grad_h += load(row.grad_output + j, n);
        vec past = {};
        if (dropout.kind != none) {
            const vec mask = dropout.mask(row.key, j);
            if (dropout.kind >= zoneout) past = (1.0f - mask) * grad_h;
            grad_h *= mask;
        }
        const vec grad_c = load(row.grad_c + j, n) + grad_h * o * (1.0f - tanh_c * tanh_c);
        const vec grad_z[4] = {
            grad_c * g * i * (1.0f - i),
            grad_c * load(row.c_before + j, n) * f * (1.0f - f),
            grad_c * i * (1.0f - g * g),
            grad_h * tanh_c * o * (1.0f - o),
        };
        for (int gate = 0; gate < 4; ++gate) {
            store(row.grad_gates + gate * H + j, grad_z[gate], n);
            store(grad_b + gate * H + j, load(grad_b + gate * H + j, n) + grad_z[gate], n);
        }
        store(row.grad_c + j, grad_c * f, n);
        store(row.grad_h + j, past, n);
    }
}

// grad_h[:, j:] += grad_gates U[:, j:], for M rows.
template <class Format, int M, int N>
__attribute__((noinline)) void backward_tile(const Call& call, const BackwardRow* rows, const float* panel, int64_t j) {
    const float* grad_words[M];
    vec sums[M][N];
    const int64_t width = std::min<int64_t>(N * V, call.H - j);
    for (int m = 0; m < M; ++m) {
        grad_words[m] = rows[m].grad_words;
        for (int n = 0; n < N; ++n) sums[m][n] = vec{};
    }
    multiply<Format, M, N>(grad_words, words<Format>(4 * call.H), panel, sums);
    for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) {
            const int count = static_cast<int>(std::min<int64_t>(V, width - n * V));
            float* to = rows[m].grad_h + j + n * V;
            store(to, load(to, count) + sums[m][n], count);
        }
}

template <class Format>
void backward_rows(const Call& call, const Dropout& dropout, const Rows& mine, const float* panels, float* grad_b) {
    const int64_t B = call.B, H = call.H, steps = call.end - call.begin;
    std::vector<BackwardRow> rows(mine.size());
    Converted<Format> gradients(mine.size(), 4 * H);
    for (int64_t s = 0; s < steps; ++s) {
        const int64_t t = call.reverse ? call.begin + s : call.end - 1 - s;
        const int64_t active = mine.active(t);
        for (int64_t r = 0; r < active; ++r) {
            const int64_t b = mine.rows[r], tb = t * B + b, kb = tb - call.saved_begin * B;
            rows[r] = {call.gates + kb * 4 * H,
                       call.cells + kb * H,
                       before(call, call.c, call.cells, call.saved_begin, t, b, mine.lengths[r]),
                       call.grad_output ? call.grad_output + tb * H : nullptr,
                       call.grad_h + b * H,
                       call.grad_c + b * H,
                       call.grad_gates + (tb - call.begin * B) * 4 * H,
                       dropout.kind == none ? 0 : dropout.key(t, b),
                       nullptr};
            backward_gates(call, dropout, rows[r], grad_b);
            rows[r].grad_words = gradients.row(r, rows[r].grad_gates, 4 * H);
        }
        for (int64_t r = active; r < mine.size(); ++r)
            std::memset(call.grad_gates + ((t - call.begin) * B + mine.rows[r]) * 4 * H, 0, 4 * H * sizeof(float));
        if (call.stop_at_first && s == steps - 1) return;

        for (int64_t j = 0; j < H; j += 4 * V) {
            const float* panel = panels + j * words<Format>(4 * H);
            const int64_t N = std::min<int64_t>(4, ceil_div(H - j, V));
            in_blocks(active, [&](int64_t first, int count) {
                with_rows(count, [&](auto rows_in_tile) {
                    constexpr int M = decltype(rows_in_tile)::value;
                    switch (N) {
                        case 1: return backward_tile<Format, M, 1>(call, &rows[first], panel, j);
                        case 2: return backward_tile<Format, M, 2>(call, &rows[first], panel, j);
                        case 3: return backward_tile<Format, M, 3>(call, &rows[first], panel, j);
                        case 4: return backward_tile<Format, M, 4>(call, &rows[first], panel, j);
                    }
                });
            });
        }
    }
}

// ------------------------------------------------------------------------------- gradients of the weights

// grad_U += sum over rows (t, b) of grad_gates^T h_before, and the same with x for grad_W.
struct WeightRow { const float *grad_gates, *h, *x; };  // h null where it is 0

// All rows that take part in a step, those without h last.
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

// Some of the 4H rows of grad_U and grad_W: M of them, beginning at `first`.
struct Tile { int64_t first; int M; };
constexpr int packed_width = 8;  // a tile is packed as words [K, 8], of which the first M count: one move instead of several
constexpr int64_t tile_size(int64_t K) { return K * packed_width + 16; }  // no power of 2: tiles shall not share cache sets
static_assert(tile_rows <= packed_width, "a tile has room for its rows");

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

// The words that rows k to k + depth - 1 make, which begin at row(k); rows from `end` on count as 0.
template <class Format, class Row>
INLINE void words_across(const Row& row, int64_t k, int64_t end, int64_t n, float* to) {
    const float* rows[Format::depth];
    for (int d = 0; d < Format::depth; ++d) rows[d] = k + d < end ? row(k + d) : nullptr;
    Format::across(rows, n, to);
}

// Adds left^T right to the tiles' rows of `to` [4H, columns], for K rows. left is packed, in words, one tile [K, 8]
// after another; `right_row(k)` has `columns`.
template <class Format, class RightRow>
void add_product(const float* left, const std::vector<Tile>& tiles, int64_t K, const RightRow& right_row, int64_t columns, float* panel, float* to) {
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

// The part of grad_U and grad_W that belongs to one thread: some of their 4H rows, over all steps and the whole batch.
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
        const WeightRow* some = &rows[begin];
        const int64_t K = end - begin, length = words<Format>(K);
        for (int64_t k = 0; k < length; ++k) {
            const float* from = some[k].grad_gates + first;
            if (Format::converts) {
                words_across<Format>([&](int64_t row) { return some[row].grad_gates + first; }, k * Format::depth, K, last - first, line.data);
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
            add_product<Format>(left.data, tiles, K, [&](int64_t k) { return some[k].h; }, call.H, panel.data, call.grad_U);
        add_product<Format>(left.data, tiles, K, [&](int64_t k) { return some[k].x; }, call.I, panel.data, call.grad_W);
    }
}

// -------------------------------------------------------------------------------------------- the phases

template <class Format>
void forward(const Call& call) {
    const Dropout dropout = dropout_of(call);
    const int64_t parts = parts_of(call), panel_count = ceil_div(call.H, V), panel_size = forward_panel_size<Format>(call);
    const bool h_is_zero = is_zero(call.h, call.B * call.H);
    const std::vector<float> zeros(call.H);
    const Buffer panels(panel_count * panel_size);
    std::atomic<int64_t> next{0};  // panel to pack, by whichever thread is awake
    prefer_large_pages(call.output + call.begin * call.B * call.H, (call.end - call.begin) * call.B * call.H * 4);
    prefer_large_pages(call.gates, (call.end - call.begin) * call.B * call.H * 16);
    prefer_large_pages(call.cells, (call.end - call.begin) * call.B * call.H * 4);
    parallel(
        parts,
        [&](int64_t) {
            for (int64_t p; (p = next++) < panel_count;) pack_forward<Format>(call, p * V, panels.data + p * panel_size);
        },
        [&](int64_t part) { forward_rows<Format>(call, dropout, Rows(call, part, parts), panels.data, h_is_zero, zeros.data()); });
}

template <class Format>
void backward(const Call& call) {
    const Dropout dropout = dropout_of(call);
    const int64_t parts = parts_of(call), panel_count = ceil_div(call.H, 4 * V), length = words<Format>(4 * call.H);
    const Buffer panels(length * ceil_div(call.H, V) * V);
    const std::vector<WeightRow> rows = weight_rows(call, is_zero(call.h, call.B * call.H));
    std::atomic<int64_t> next{0};
    std::vector<std::vector<float>> grad_b(parts, std::vector<float>(4 * call.H));
    parallel(
        parts,
        [&](int64_t) {
            for (int64_t p; (p = next++) < panel_count;) pack_backward<Format>(call, p * 4 * V, panels.data + p * 4 * V * length);
        },
        [&](int64_t part) { backward_rows<Format>(call, dropout, Rows(call, part, parts), panels.data, grad_b[part].data()); },
        [&](int64_t part) { weight_gradients<Format>(call, rows, part, parts); });
    for (const auto& partial : grad_b)
        for (int64_t k = 0; k < 4 * call.H; ++k) call.grad_b[k] += partial[k];
}

// glibc gives freed memory back to the kernel, which clears each page anew at the next call, until it has seen a
// large block freed: then it keeps blocks up to that size. For short sequences this is a third of the time.
__attribute__((constructor)) void keep_freed_memory() {
    void* volatile block = std::malloc((32 << 20) - 65536);
    std::free(block);
}

}  // namespace

// ------------------------------------------------------------------------------------------------ C ABI

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int64_t reviver_lstm_call_size() { return sizeof(Call); }

EXPORT void reviver_lstm_forward(const Call* call) {
    with_format(*call, [&](auto format) { forward<decltype(format)>(*call); });
}

EXPORT void reviver_lstm_backward(const Call* call) {
    with_format(*call, [&](auto format) { backward<decltype(format)>(*call); });
}
