// Adam (Kingma & Ba 2015, algorithm 1) on float32 weights. In bf16 they are master weights: the gradients are bfloat16, and
// it also writes the bfloat16 copy of the weights. An update of these networks is bound by memory, not by arithmetic: one
// pass reads and writes each number once, where torch needs three passes (convert the gradients, update the weights, round
// them).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t block = 4096;  // elements per unit of work of a thread

inline float to_float(uint16_t value) {
    const uint32_t bits = uint32_t(value) << 16;
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

// Round to the nearest bfloat16, ties to even; NaN stays NaN.
inline uint16_t to_bfloat16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint16_t nearest = uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    return value == value ? nearest : uint16_t(0x7FC0);
}

}  // namespace

// The same fields in the same order as `Call` in optim.py.
struct Call {
    int64_t tensors, threads;
    double learning_rate, beta1, beta2, eps, step;  // step: the number of this update, from 1
    const int64_t* sizes;         // elements of each tensor
    float* const* weights;
    const void* const* gradients; // bfloat16 where there is a copy, else float32
    float* const* means;          // m of the paper
    float* const* squares;        // v of the paper
    uint16_t* const* copies;      // the weights in bfloat16, or null
};

namespace {

// Without a mean, beta1 = 0, m is the gradient itself and is neither read nor written.
template <bool is_bf16, bool has_mean>
void update(const Call& call, int64_t tensor, int64_t begin, int64_t end) {
    const float corrected_rate = float(call.learning_rate / (1 - std::pow(call.beta1, call.step)));
    const float correction = float(1 / std::sqrt(1 - std::pow(call.beta2, call.step)));
    const float beta1 = float(call.beta1), beta2 = float(call.beta2), eps = float(call.eps);
    const float one_minus_beta1 = float(1 - call.beta1), one_minus_beta2 = float(1 - call.beta2);
    float* __restrict w = call.weights[tensor];
    float* __restrict m = call.means[tensor];
    float* __restrict v = call.squares[tensor];
    const uint16_t* __restrict short_g = static_cast<const uint16_t*>(call.gradients[tensor]);
    const float* __restrict long_g = static_cast<const float*>(call.gradients[tensor]);
    uint16_t* __restrict copy = call.copies[tensor];
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
        const float g = is_bf16 ? to_float(short_g[i]) : long_g[i];
        const float mean = has_mean ? beta1 * m[i] + one_minus_beta1 * g : g;
        if (has_mean) m[i] = mean;
        v[i] = beta2 * v[i] + one_minus_beta2 * g * g;
        w[i] -= corrected_rate * mean / (std::sqrt(v[i]) * correction + eps);
        if (is_bf16) copy[i] = to_bfloat16(w[i]);
    }
}

// Update block number `index` of all blocks of all tensors.
void update_block(const Call& call, int64_t index) {
    int64_t tensor = 0, blocks_of_tensor;
    while (index >= (blocks_of_tensor = (call.sizes[tensor] + block - 1) / block)) {  // find the tensor of this block
        index -= blocks_of_tensor;
        ++tensor;
    }
    const int64_t begin = index * block, end = std::min(begin + block, call.sizes[tensor]);
    const bool has_mean = call.beta1 != 0;
    if (call.copies[tensor])
        (has_mean ? update<true, true> : update<true, false>)(call, tensor, begin, end);
    else
        (has_mean ? update<false, true> : update<false, false>)(call, tensor, begin, end);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int64_t reviver_adam_call_size() { return sizeof(Call); }

extern "C" __attribute__((visibility("default"))) void reviver_adam_update(const Call* call) {
    int64_t blocks = 0;
    for (int64_t tensor = 0; tensor < call->tensors; ++tensor) blocks += (call->sizes[tensor] + block - 1) / block;
    // From the last block to the first in every other update: what the last one left in the cache is read from there.
    const bool is_reversed = static_cast<int64_t>(call->step) % 2 != 0;
#pragma omp parallel for schedule(static) num_threads(int(call->threads))
    for (int64_t part = 0; part < call->threads; ++part) {
        const int64_t first = blocks * part / call->threads, last = blocks * (part + 1) / call->threads - 1;
        for (int64_t index = first; index <= last; ++index) update_block(*call, is_reversed ? first + last - index : index);
    }
}
