// A recurrent cell over a whole sequence, forward and backward, for float32 on a CPU: what reference.py computes step by step. In
// bf16 mode the operands of matrix multiplications are rounded to bfloat16.
//
// Shapes: B batch, T time, I input size, H hidden size; V floats in a vector register. Tensors are contiguous and row-major.
//
// Design:
//   - A cell is a plan (plan.py): sums of products, which are computed in registers, and programs on rows of units, which an
//     interpreter runs (program.h).
//   - Rows of the batch are independent: each thread computes all steps of its own rows, so the threads synchronize
//     once per call and the recurrent weights stay in the cache of each core. Only for a single row they share its units,
//     and synchronize at each step.
//   - Weights are packed into panels in the order in which matmuls read them. A tile of up to `tile_rows` rows by 4
//     vectors is accumulated in registers.
//   - Denormal numbers are flushed to zero. A gradient that vanishes over a long sequence would otherwise slow down
//     every multiplication up to eightfold.
//   - Dropout masks are functions of (seed, t, b, unit); the backward pass recomputes them.
//
// Files: call.h arguments, vectors.h registers, amx.h, matmul.h, dropout.h, rows.h, program.h, and the passes below.

#include "backward.h"
#include "forward.h"

namespace {

// glibc returns freed memory to the operating system, which clears each page again at the next call, until a large
// block has been freed; then it keeps blocks up to that size. For short sequences this saves a third of the time.
__attribute__((constructor)) void keep_freed_memory() {
    void* volatile block = std::malloc((32 << 20) - 65536);
    std::free(block);
}

}  // namespace

// C interface

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int64_t reviver_cell_call_size() { return sizeof(Call); }

EXPORT void reviver_cell_forward(const Call* call) {
    with_format(*call, [&](auto format) { forward<decltype(format)>(*call); });
}

EXPORT void reviver_cell_backward(const Call* call) {
    with_format(*call, [&](auto format) { backward<decltype(format)>(*call); });
}
