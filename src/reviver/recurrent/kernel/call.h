// The arguments of a pass over a sequence, and the plan of a cell, see plan.py.

#pragma once

#include <cstdint>

// The same fields in the same order as `PlanArrays` in library.py. `ends` are ends of the segments in the list before them.
struct Plan {
    int64_t states, sums, slots, scalars, registers, spills, operand_gradients, vectors, numbers, forward_segments, backward_segments;
    const int32_t* forward;         // [.., 8] instructions: op, target, a, b, c, scalar, factor, sum; see program.h
    const int32_t* forward_ends;
    const int32_t* forward_places;  // codes of the operands of a segment, kind * 65536 + index
    const int32_t* forward_places_ends;
    const int32_t* groups;          // [.., 4] operand code or -1, has x, first sum, count
    const int32_t* groups_ends;
    const int32_t* backward;        // [.., 8]
    const int32_t* backward_ends;
    const int32_t* backward_places;
    const int32_t* backward_places_ends;
    const int32_t* products;        // [.., 4] target code, add, first sum, count
    const int32_t* products_ends;
    const int32_t* W;               // [sums, 2] tensor with the matrix on x, or -1, and which H rows of it
    const int32_t* U;               // [sums, 2] the same of the matrix on the operand
    const int32_t* b;               // [sums] vector that is added, or -1
    const int32_t* vector;          // [vectors, 4] up to two tensors with a vector, which are added
    const float* number;            // [numbers]
};

// The same fields in the same order as `Call` in library.py. Rows of units are padded with 0 to P floats, a multiple of 16.
// A call computes the steps begin <= t < end; what is saved holds the steps saved_begin <= t < saved_end, which include them.
struct Call {
    int64_t T, B, I, H, P, begin, end, saved_begin, saved_end;
    int64_t reverse;                // compute the steps from end - 1 down to begin
    int64_t threads;
    int64_t kind;                   // see Kind
    int64_t bf16;                   // round the operands of matmuls to bfloat16
    int64_t saving;                 // keep slots and states of all steps for the backward pass
    double dropout;                 // p
    const int64_t* seed;            // [1], or null for none and zoneout_mean
    const int64_t* lengths;         // [B], or null if all are T: row b is active in steps t < lengths[b]
    const float* x;                 // [T, B, I]
    const Plan* plan;
    const float* const* weights;    // [tensors] of the plan
    const float* const* initial;    // [states], each [B, P]: before the first of the saved steps
    float* const* history;          // [states], each [T, B, P]: after each step, h 0 where a row is not active; but for h [2, B, P] unless saving
    float* const* last;             // [states], each [B, P]: after the last step
    float* slot;                    // [T, B, slots * P + scalars padded to 16], or null unless saving
    // For the backward pass.
    const float* grad_output;       // [T, B, P], or null for 0
    const float* const* grad_last;  // [states], each [B, P]: gradient of the state after the last step
    float* const* grad_initial;     // [states], each [B, P], out
    float* const* carry;            // [states], each [2, B, P]: gradient between even and odd steps
    float* grad_sums;               // [end - begin, B, sums, P], out
    float* grad_W;                  // [sums, P, I]; the gradient is added to this and the next two
    float* grad_U;                  // [sums, P, H]
    float* grad_vector;             // [vectors, P]
    int64_t stop_at_first;          // skip products for the gradient of the initial states
};
