// The arguments of a pass over a cell that is a text, and its plan: see cells/plan.py, which makes the plan.

#pragma once

#include "call.h"

// The same fields in the same order as `CellCall` in cells/interpreter.py. Rows of units are padded with 0 to P floats, a multiple
// of 16. A code of an operand is kind * 65536 + index.
struct CellCall {
    Call base;                      // of these are used: T B I H begin end threads kind bf16 dropout seed lengths x stop_at_first,
                                    // and reverse: x is a sequence backward, and the masks are those of its steps
    int64_t P, states, sums, slots, scalars, registers, spills, operand_gradients, vectors;
    int64_t saving;                 // keep slots and states of all steps for the backward pass
    // Plan: `ends` are ends of the segments in the list before them.
    int64_t forward_segments, backward_segments;
    const int32_t* forward;         // [.., 6] instructions: op, target, a, b, c, scalar
    const int32_t* forward_ends;
    const int32_t* groups;          // [.., 4] operand code or -1, has x, first sum, count
    const int32_t* groups_ends;
    const int32_t* backward;        // [.., 6]
    const int32_t* backward_ends;
    const int32_t* products;        // [.., 4] target code, add, first sum, count
    const int32_t* products_ends;
    const float* const* W;          // [sums], each [H, I] or null
    const float* const* U;          // [sums], each [H, H] or null
    const float* const* b;          // [sums], each [P] or null
    const float* vector;            // [vectors, P]: learned vectors, then numbers
    float* const* history;          // [states], each [T + 1, B, P]: before step 0, after step 0, ...; but for h [2, B, P] unless saving
    float* const* last;             // [states], each [B, P]: after the last step
    float* slot;                    // [T, B, slots * P + scalars padded to 16], or null unless saving
    // For the backward pass.
    const float* grad_output;       // [T, B, P], or null for 0
    float* const* carry;            // [states], each [2, B, P]: gradient before even and odd steps; in: after the steps, twice; out: before step 0
    float* grad_sums;               // [end - begin, B, sums, P], out
    float* grad_W;                  // [sums, P, I]; the gradient is added to this and the next two
    float* grad_U;                  // [sums, P, H]
    float* grad_vector;             // [vectors, P]
};
