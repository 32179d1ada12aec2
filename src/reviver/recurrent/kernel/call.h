// The arguments of a call of the library.

#pragma once

#include <cstdint>

// The same fields in the same order as `Call` in library.py. A call computes the steps begin <= t < end; tensors
// marked [K, ...] hold the steps saved_begin <= t < saved_end, which include them.
struct Call {
    int64_t T, B, I, H, begin, end, saved_begin, saved_end;
    int64_t reverse;            // compute the steps from end - 1 down to begin
    int64_t threads;
    int64_t kind;               // see Kind
    int64_t bf16;               // round the operands of matmuls to bfloat16
    double dropout;             // p
    const int64_t* seed;        // [1], or null for none and zoneout_mean
    const int64_t* lengths;     // [B], or null if all are T: row b is active in steps t < lengths[b]
    const float* W;             // [4, H, I], gates in the order of the equations: torch's weight_ih
    const float* U;             // [4, H, H]: weight_hh
    const float* b_ih;          // [4, H], or null for 0; b of the equations is b_ih + b_hh
    const float* b_hh;          // [4, H], or null for 0
    const float* x;             // [T, B, I]
    const float* h;             // [B, H], before the first of the saved steps
    const float* c;             // [B, H]
    float* output;              // [T, B, H]: h after each step, 0 where a row is not active
    float* gates;               // [K, B, 4, H] for the backward pass, or null
    float* cells;               // [K, B, H] c after each step, or null
    float* h_last;              // [B, H], after the last step
    float* c_last;              // [B, H]
    // The fields below are for the backward pass.
    const float* grad_output;   // [T, B, H], or null for 0
    float* grad_h;              // [B, H], in: gradient of the state after the steps; out: of the state before them
    float* grad_c;              // [B, H]
    float* grad_gates;          // [end - begin, B, 4, H], out: gradient of the sums inside σ and tanh
    float* grad_W;              // [4, H, I]; the gradient is added to this and the next two
    float* grad_U;              // [4, H, H]
    float* grad_b;              // [4, H]
    int64_t stop_at_first;      // skip the gradient of h before the first step
};
