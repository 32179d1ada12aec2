// Matrix multiplication with AMX, whose tile registers hold 16 rows of 16 words: for pairs of bfloat16 on Linux.

#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "vectors.h"

// The functions below are compiled for AMX where the rest of the library is not, so has_amx() decides at run time.
#if defined(__AVX512BF16__) && defined(__linux__) && defined(__x86_64__) && (__GNUC__ >= 11 || __clang_major__ >= 12)
#define COMPILES_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

// The operands of a product in words: left [rows, length], right [length, N, 16]. Words of left that stand side by side
// are in blocks of 16: `row` is the distance between rows, `block` between blocks.
struct AmxOperands {
    const float* left;
    int64_t row, block, length;
    const float* right;
};

#if defined(COMPILES_AMX)

constexpr int64_t amx_words = 16;  // the lengths of operands are multiples of this

// Whether the processor has AMX, and the operating system lets this process use its registers.
bool has_amx() {
#if defined(REVIVER_EMULATE_AMX)
    return true;
#else
    static const bool allowed = [] {
        constexpr unsigned bf16 = 1u << 22, tiles = 1u << 24;
        constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
        unsigned a, b, c, d = 0;
        return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & bf16) && (d & tiles) && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
    }();
    return allowed;
#endif
}

#define AMX __attribute__((noinline, target("amx-tile,amx-bf16")))

// The tile registers of a thread, while it uses them.
class Amx {
    int rows = 0;

public:
    static constexpr int max_rows = 16;

    Amx() = default;
    Amx(const Amx&) = delete;
    AMX ~Amx() {
        if (rows) _tile_release();
    }
    // Sets the number of rows of left operands and of sums.
    AMX void set_rows(int64_t count) {
        if (rows == count) return;
        rows = static_cast<int>(count);
        alignas(64) struct {
            uint8_t palette = 1, start = 0, reserved[14] = {};
            uint16_t row_bytes[16] = {};
            uint8_t rows[16] = {};
        } config;
        for (int tile = 0; tile < 8; ++tile) {  // 0 to 3 hold sums, 4 is on the left, 5 to 7 on the right
            config.row_bytes[tile] = 64;
            config.rows[tile] = static_cast<uint8_t>(tile < 5 ? rows : 16);
        }
        asm volatile("" ::"r"(&config) : "memory");  // GCC knows of the first 8 bytes only that the next line reads them
        _tile_loadconfig(&config);
    }
    // sums [rows, N, 16] = the sum of the products of all operands, for N <= 4.
    AMX void multiply(std::initializer_list<AmxOperands> products, int64_t N, float* sums) const {
        asm volatile("" ::: "memory");  // GCC does not know that loading a tile reads memory
        const int64_t stride = N * 64;  // bytes
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (const AmxOperands& product : products)
            for (int64_t k = 0; k < product.length; k += 16) {
                const float* right = product.right + k * N * 16;
                _tile_loadd(4, product.left + k / 16 * product.block, product.row * 4);
                _tile_loadd(5, right, stride);
                _tile_dpbf16ps(0, 4, 5);
                if (N > 1) {
                    _tile_loadd(6, right + 16, stride);
                    _tile_dpbf16ps(1, 4, 6);
                }
                if (N > 2) {
                    _tile_loadd(7, right + 32, stride);
                    _tile_dpbf16ps(2, 4, 7);
                }
                if (N > 3) {
                    _tile_loadd(5, right + 48, stride);
                    _tile_dpbf16ps(3, 4, 5);
                }
            }
        _tile_stored(0, sums, stride);
        if (N > 1) _tile_stored(1, sums + 16, stride);
        if (N > 2) _tile_stored(2, sums + 32, stride);
        if (N > 3) _tile_stored(3, sums + 48, stride);
    }
};

#undef AMX

#else

constexpr int64_t amx_words = 1;

constexpr bool has_amx() { return false; }

struct Amx {
    static constexpr int max_rows = 16;
    void set_rows(int64_t) {}
    void multiply(std::initializer_list<AmxOperands>, int64_t, float*) const {}
};

#endif

// Calls block(first, count) for blocks of nearly equal size of n rows, and lets tiles have as many rows. The last tile
// may reach up to 15 rows beyond the last row.
template <class Block>
void in_amx_blocks(Amx& amx, int64_t n, const Block& block) {
    if (n == 0) return;
    const int64_t blocks = (n + Amx::max_rows - 1) / Amx::max_rows, size = (n + blocks - 1) / blocks;
    amx.set_rows(size);
    for (int64_t first = 0; first < n; first += size) block(first, std::min(size, n - first));
}

}  // namespace
