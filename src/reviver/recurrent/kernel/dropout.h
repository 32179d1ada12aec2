// Dropout masks of the hidden state: the functions of dropout.py, which must give the same bits.

#pragma once

#include <algorithm>
#include <cstdint>
#include "call.h"
#include "vectors.h"

namespace {

enum Kind : int64_t { none, step, variational, zoneout, zoneout_mean };

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
    float scale;         // of units that are not dropped

    uint64_t key(int64_t t, int64_t b) const { return row_key(seed, kind == variational ? 0 : t, b); }

    // The mask of units j to j + V - 1 in the row with this key.
    INLINE vec mask(uint64_t key, int64_t j) const {
        if (kind == zoneout_mean) return broadcast(scale);
        uvec x = static_cast<uint32_t>(j) + lanes();
        x = x * 0x9e3779b9u + static_cast<uint32_t>(key);
        x = (x ^ (x >> 16)) * 0x21f0aaadu;
        x += static_cast<uint32_t>(key >> 32);
        x = (x ^ (x >> 15)) * 0xd35a2d97u;
        x ^= x >> 15;
        return x < (threshold + uvec{}) ? vec{} : broadcast(scale);
    }
    static INLINE uvec lanes() {
        uvec indices;
        for (int v = 0; v < V; ++v) indices[v] = v;
        return indices;
    }
};

Dropout dropout_of(const Call& call) {
    const auto kind = static_cast<Kind>(call.kind);
    const double keep = 1.0 - call.dropout;  // probability
    const double threshold = std::min(call.dropout * 4294967296.0 + 0.5, 4294967295.0);
    const double scale = kind == zoneout ? 1.0 : kind == zoneout_mean ? keep : 1.0 / keep;
    return {kind, call.seed ? static_cast<uint64_t>(*call.seed) : 0, static_cast<uint32_t>(threshold), static_cast<float>(scale)};
}

}  // namespace
