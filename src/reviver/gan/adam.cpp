// Adam (Kingma & Ba 2015, algorithm 1) on weights in float32 with gradients in bfloat16, which also writes the weights
// rounded to bfloat16. An update of these networks waits for memory more than for arithmetic: in one pass each number is
// read and written once, where torch would widen the gradients, update the weights, and round them, in three.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t block = 4096;  // elements that a thread takes at a time

inline float widened(uint16_t value) {
    const uint32_t bits = uint32_t(value) << 16;
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

// To the nearest bfloat16, of two as near to the even one; what is not a number stays none.
inline uint16_t rounded(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint16_t nearest = uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    return value == value ? nearest : uint16_t(0x7FC0);
}

}  // namespace

// The same fields in the same order as `Call` in adam.py.
struct Call {
    int64_t tensors, threads;
    double learning_rate, beta1, beta2, eps, step;  // the number of this update, from 1
    const int64_t* sizes;         // elements of each tensor
    float* const* weights;
    const void* const* gradients; // bfloat16 where there is a copy, else float32
    float* const* means;          // m of the paper
    float* const* squares;        // v of the paper
    uint16_t* const* copies;      // the weights in bfloat16, or null
};

namespace {

// With beta1 = 0 the mean is the gradient itself, and is neither read nor written.
template <bool is_bf16, bool has_mean>
void update(const Call& call, int64_t tensor, int64_t begin, int64_t end) {
    const float step_size = float(call.learning_rate / (1 - std::pow(call.beta1, call.step)));
    const float correction = float(1 / std::sqrt(1 - std::pow(call.beta2, call.step)));
    const float beta1 = float(call.beta1), beta2 = float(call.beta2), eps = float(call.eps);
    const float rest1 = float(1 - call.beta1), rest2 = float(1 - call.beta2);
    float* __restrict w = call.weights[tensor];
    float* __restrict m = call.means[tensor];
    float* __restrict v = call.squares[tensor];
    const uint16_t* __restrict short_g = static_cast<const uint16_t*>(call.gradients[tensor]);
    const float* __restrict long_g = static_cast<const float*>(call.gradients[tensor]);
    uint16_t* __restrict copy = call.copies[tensor];
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
        const float g = is_bf16 ? widened(short_g[i]) : long_g[i];
        const float mean = has_mean ? beta1 * m[i] + rest1 * g : g;
        if (has_mean) m[i] = mean;
        v[i] = beta2 * v[i] + rest2 * g * g;
        w[i] -= step_size * mean / (std::sqrt(v[i]) * correction + eps);
        if (is_bf16) copy[i] = rounded(w[i]);
    }
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int64_t reviver_adam_call_size() { return sizeof(Call); }

extern "C" __attribute__((visibility("default"))) void reviver_adam_update(const Call* call) {
    int64_t blocks = 0;
    for (int64_t tensor = 0; tensor < call->tensors; ++tensor) blocks += (call->sizes[tensor] + block - 1) / block;
#pragma omp parallel for schedule(static) num_threads(int(call->threads))
    for (int64_t number = 0; number < blocks; ++number) {
        int64_t tensor = 0, begin = number * block;
        for (int64_t left = number;;) {  // which tensor this block is of
            const int64_t mine = (call->sizes[tensor] + block - 1) / block;
            if (left < mine) {
                begin = left * block;
                break;
            }
            left -= mine;
            ++tensor;
        }
        const int64_t end = std::min(begin + block, call->sizes[tensor]);
        const bool has_mean = call->beta1 != 0;
        if (call->copies[tensor])
            (has_mean ? update<true, true> : update<true, false>)(*call, tensor, begin, end);
        else
            (has_mean ? update<false, true> : update<false, false>)(*call, tensor, begin, end);
    }
}
