// The instructions of AMX that the LSTM kernel uses, in plain C++ as Intel's manual describes them, for `make portable`:
// compiled with -include, the kernel uses these on a processor without AMX. What the processor refuses ends the program.

#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define REVIVER_EMULATE_AMX

namespace amx_emulation {

struct Tile {
    int rows = 0, row_bytes = 0;
    unsigned char data[16][64] = {};
};
inline thread_local Tile tiles[8];
inline thread_local bool configured = false;

inline void require(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "AMX: %s\n", what);
    std::abort();
}

inline void load_config(const void* config) {
    const auto* bytes = static_cast<const unsigned char*>(config);
    require(bytes[0] == 1 && bytes[1] == 0, "palette must be 1 and start_row 0");
    for (int k = 2; k < 16; ++k) require(bytes[k] == 0, "reserved bytes must be 0");
    for (int k = 8; k < 16; ++k) require(bytes[16 + 2 * k] == 0 && bytes[48 + k] == 0, "there are 8 tiles");
    for (int k = 0; k < 8; ++k) {
        tiles[k] = Tile();
        uint16_t row_bytes;
        std::memcpy(&row_bytes, bytes + 16 + 2 * k, 2);
        tiles[k].row_bytes = row_bytes;
        tiles[k].rows = bytes[48 + k];
        require(row_bytes <= 64 && tiles[k].rows <= 16 && (row_bytes == 0) == (tiles[k].rows == 0), "size of a tile");
    }
    configured = true;
}

inline void release() {
    for (Tile& tile : tiles) tile = Tile();
    configured = false;
}

inline Tile& tile(int k) {
    require(configured && tiles[k].rows > 0, "use of a tile without a configuration");
    return tiles[k];
}

inline void zero(int k) { std::memset(tile(k).data, 0, sizeof tiles[k].data); }

inline void load(int k, const void* base, int64_t stride) {
    zero(k);
    for (int row = 0; row < tiles[k].rows; ++row)
        std::memcpy(tiles[k].data[row], static_cast<const char*>(base) + row * stride, tiles[k].row_bytes);
}

inline void store(int k, void* base, int64_t stride) {
    for (int row = 0; row < tile(k).rows; ++row)
        std::memcpy(static_cast<char*>(base) + row * stride, tiles[k].data[row], tiles[k].row_bytes);
}

inline float number(const Tile& tile, int row, int index) {  // of bfloat16; denormal numbers count as 0
    uint16_t half;
    std::memcpy(&half, tile.data[row] + 2 * index, 2);
    const uint32_t bits = (half & 0x7f80) ? uint32_t{half} << 16 : uint32_t{half & 0x8000u} << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

inline void multiply_add(int sums, int left, int right) {
    Tile &c = tile(sums), &a = tile(left), &b = tile(right);
    require(c.rows == a.rows && c.row_bytes == b.row_bytes && a.row_bytes == 4 * b.rows, "sizes of tiles that do not fit");
    for (int m = 0; m < c.rows; ++m)
        for (int n = 0; n < c.row_bytes / 4; ++n) {
            float even = 0.0f, odd = 0.0f, sum;
            for (int k = 0; k < a.row_bytes / 4; ++k) {
                even += number(a, m, 2 * k) * number(b, k, 2 * n);
                odd += number(a, m, 2 * k + 1) * number(b, k, 2 * n + 1);
            }
            std::memcpy(&sum, c.data[m] + 4 * n, 4);
            sum += even + odd;
            std::memcpy(c.data[m] + 4 * n, &sum, 4);
        }
}

}  // namespace amx_emulation

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig amx_emulation::load_config
#define _tile_release amx_emulation::release
#define _tile_zero amx_emulation::zero
#define _tile_loadd amx_emulation::load
#define _tile_stored amx_emulation::store
#define _tile_dpbf16ps amx_emulation::multiply_add
