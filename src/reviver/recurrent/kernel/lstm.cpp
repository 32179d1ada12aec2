// An LSTM cell over a whole sequence, forward and backward, for float32 on a CPU: what equations.py computes with
// cell.py and dropout.py. In bf16 mode the operands of matrix multiplications are rounded to bfloat16 (equations.py).
//
// Shapes: B batch, T time, I input size, H hidden size; V floats in a vector register. Tensors are contiguous and
// row-major. Gates come in the order of the equations, i f c o, with index 0 to 3.
//
// Design:
//   - Rows of the batch are independent: each thread computes all steps of its own rows, so the threads synchronize
//     once per call and the recurrent weights stay in the cache of each core. Only for a single row they share its units,
//     and synchronize at each step.
//   - Weights are packed into panels in the order in which matmuls read them. A tile of up to `tile_rows` rows by 4
//     vectors is accumulated in registers; in the forward pass the 4 vectors are the 4 gates of V units, so the gate
//     functions and the state update follow while everything is still in registers.
//   - Denormal numbers are flushed to zero. A gradient that vanishes over a long sequence would otherwise slow down
//     every multiplication up to eightfold.
//   - Dropout masks are functions of (seed, t, b, unit); the backward pass recomputes them.
//
// Files: call.h arguments, vectors.h registers, amx.h, matmul.h, dropout.h, rows.h, and the three passes below. cell_*.h
// have the passes of any cell that is a text, on the same tiles, rows, threads and masks.

#include "backward.h"
#include "cell_backward.h"
#include "cell_forward.h"
#include "forward.h"
#include "weight_gradients.h"

namespace {

template <class Format>
void forward(const Call& call) {
    const Dropout dropout = dropout_of(call);
    const int64_t panel_count = ceil_div(call.H, V), panel_size = forward_panel_size<Format>(call);
    const bool single_row = call.B == 1;
    const int64_t parts = single_row ? parts_of_units(call) : parts_of(call);
    const bool h_is_zero = is_zero(call.h, call.B * call.H);
    const std::vector<float> zeros(call.H);
    const Buffer panels(panel_count * panel_size);
    std::atomic<int64_t> next{0};  // next panel to pack, by the first thread that is free
    StepBarrier barrier;
    prefer_large_pages(call.output + call.begin * call.B * call.H, (call.end - call.begin) * call.B * call.H * 4);
    prefer_large_pages(call.gates, (call.end - call.begin) * call.B * call.H * 16);
    prefer_large_pages(call.cells, (call.end - call.begin) * call.B * call.H * 4);
    parallel(
        parts,
        [&](int64_t) {
            for (int64_t p; (p = next++) < panel_count;) pack_forward<Format>(call, p * V, panels.data + p * panel_size);
        },
        [&](int64_t part) {
            if (!single_row) return forward_rows<Format>(call, dropout, Rows(call, part, parts), {0, panel_count, nullptr, 1}, panels.data, h_is_zero, zeros.data());
            const int64_t threads = concurrent_parts(parts);
            if (part >= threads) return;  // the others compute its units
            const Units units{panel_count * part / threads, panel_count * (part + 1) / threads, &barrier, threads};
            forward_rows<Format>(call, dropout, Rows(call, 0, 1), units, panels.data, h_is_zero, zeros.data());
        });
}

template <class Format>
void backward(const Call& call) {
    const Dropout dropout = dropout_of(call);
    const int64_t parts = parts_of(call), panel_count = ceil_div(call.H, 4 * V), length = padded<Format>(4 * call.H);
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
        [&](int64_t part) {
            weight_gradients<Format>(4 * call.H, rows, [&](bool with_h) { return columns_of(call, with_h); }, part, parts);
        });
    for (const auto& partial : grad_b)
        for (int64_t k = 0; k < 4 * call.H; ++k) call.grad_b[k] += partial[k];
}

// glibc returns freed memory to the operating system, which clears each page again at the next call, until a large
// block has been freed; then it keeps blocks up to that size. For short sequences this saves a third of the time.
__attribute__((constructor)) void keep_freed_memory() {
    void* volatile block = std::malloc((32 << 20) - 65536);
    std::free(block);
}

}  // namespace

// C interface

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int64_t reviver_lstm_call_size() { return sizeof(Call); }

EXPORT void reviver_lstm_forward(const Call* call) {
    with_format(*call, [&](auto format) { forward<decltype(format)>(*call); });
}

EXPORT void reviver_lstm_backward(const Call* call) {
    with_format(*call, [&](auto format) { backward<decltype(format)>(*call); });
}

EXPORT int64_t reviver_cell_call_size() { return sizeof(CellCall); }

EXPORT void reviver_cell_forward(const CellCall* call) {
    with_format(call->base, [&](auto format) { cell_forward<decltype(format)>(*call); });
}

EXPORT void reviver_cell_backward(const CellCall* call) {
    with_format(call->base, [&](auto format) { cell_backward<decltype(format)>(*call); });
}
