"""The Triton kernels of the LSTM with hidden dropout: some steps of a forward pass, and of the backward pass through them.

Shapes: B batch, T time, H hidden size, K number of columns of a matrix.

A program computes ROWS rows of the batch and PROGRAM_UNITS units. If these are all units of a row, a launch runs all
steps: nothing passes from one program to another. Otherwise a launch runs one step.

- U streams through shared memory in tiles of [UNITS, DEPTH], so the memory of a program does not grow with H.
- `states` and `cells` have T + 1 slots. A step at t leads from the slot `before` to the slot `after`, t and t + 1, or
  t + 1 and t in reverse. The slot of the initial state is filled by the caller.
- Units and columns beyond H are loaded as 0 and never stored, so any H works.
- σ and tanh are written with exp, which the interpreter has, too.
"""

import triton
import triton.language as tl


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _tanh(x):
    return 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0


@triton.jit
def _mix64(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


@triton.jit
def _mask(seed, t, rows, units, threshold, scale, KIND: tl.constexpr):
    """Compute the mask of a step, [ROWS, UNITS], with the bits of dropout.py; threshold is that one minus 2³¹, an int32."""
    if KIND == "zoneout_mean":
        mask = tl.full([rows.shape[0], units.shape[0]], 1.0, tl.float32) * scale
    else:
        index = rows.to(tl.uint64) + 1
        if KIND != "variational":
            index += t.to(tl.uint64) << 32
        key = _mix64(tl.load(seed).to(tl.uint64) + index * 0x9E3779B97F4A7C15)[:, None]
        x = units.to(tl.uint32)[None, :] * 0x9E3779B9 + key.to(tl.uint32)
        x = (x ^ (x >> 16)) * 0x21F0AAAD + (key >> 32).to(tl.uint32)
        x = (x ^ (x >> 15)) * 0xD35A2D97
        x = x ^ (x >> 15)
        mask = tl.where((x ^ 0x80000000).to(tl.int32, bitcast=True) < threshold, 0.0, scale)
    return mask


@triton.jit
def _add_product(sums, operand, matrix, numbers, columns, K: tl.constexpr, last, PRODUCT: tl.constexpr):
    """Add operand [ROWS, DEPTH] times the transpose of matrix[numbers, columns] to sums [ROWS, UNITS]."""
    mask = (numbers < last)[:, None] & (columns < K)[None, :]
    tile = tl.load(matrix + numbers[:, None] * K + columns[None, :], mask=mask, other=0.0)  # [UNITS, DEPTH]
    if PRODUCT == "bf16":
        sums = tl.dot(operand.to(tl.bfloat16), tl.trans(tile), sums)  # the matrix is bfloat16 already
    else:
        sums = tl.dot(operand, tl.trans(tile), sums, input_precision=PRODUCT)
    return sums


# fmt: off
@triton.jit(do_not_specialize=["B", "T", "begin", "end", "threshold"])
def forward(gates, U, states, cells, lengths, seed, threshold, scale, B, T, begin, end,
            H: tl.constexpr, KIND: tl.constexpr, REVERSE: tl.constexpr, PRODUCT: tl.constexpr, SAVE: tl.constexpr,
            ROWS: tl.constexpr, UNITS: tl.constexpr, DEPTH: tl.constexpr, PROGRAM_UNITS: tl.constexpr):
    """Run the steps from `begin` to `end`, counted in the order in which they run.

    gates [T, B, 4, H] holds W x + b before and, if SAVE, the gates after; U is [4, H, H], states [T + 1, B, H], cells
    [T + 1, B, H] or, unless SAVE, [B, H], lengths [B] or None, seed [] or None.
    """
    # fmt: on
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(1) * PROGRAM_UNITS
    in_batch = (rows < B)[:, None]
    row_starts = rows.to(tl.int64)[:, None] * H
    zero = tl.full([], 0, tl.int64)  # makes offsets 64 bits wide
    slot = (zero + B) * H  # elements of a slot
    if lengths is not None:
        length = tl.load(lengths + rows, mask=rows < B, other=0)[:, None]
    for s in range(begin, end):
        t = zero + (T - 1 - s if REVERSE else s)
        before = (t + 1 if REVERSE else t) * slot
        after = (t if REVERSE else t + 1) * slot
        for j in range(first, first + PROGRAM_UNITS, UNITS):
            units = j + tl.arange(0, UNITS)
            mask = in_batch & (units < H)[None, :]
            place = row_starts + units[None, :]  # of a state
            z = gates + 4 * (t * slot + row_starts) + units[None, :]
            x_i = tl.load(z, mask=mask, other=0.0)  # they arrive while the matmul runs
            x_f = tl.load(z + H, mask=mask, other=0.0)
            x_g = tl.load(z + 2 * H, mask=mask, other=0.0)
            x_o = tl.load(z + 3 * H, mask=mask, other=0.0)
            c_before = tl.load(cells + (before if SAVE else 0) + place, mask=mask, other=0.0)
            z_i = tl.full([ROWS, UNITS], 0.0, tl.float32)
            z_f = tl.full([ROWS, UNITS], 0.0, tl.float32)
            z_g = tl.full([ROWS, UNITS], 0.0, tl.float32)
            z_o = tl.full([ROWS, UNITS], 0.0, tl.float32)
            for k in range(0, H, DEPTH):
                columns = k + tl.arange(0, DEPTH)
                in_matrix = in_batch & (columns < H)[None, :]
                h = tl.load(states + before + row_starts + columns[None, :], mask=in_matrix, other=0.0)
                z_i = _add_product(z_i, h, U, units, columns, H, H, PRODUCT)
                z_f = _add_product(z_f, h, U + H * H, units, columns, H, H, PRODUCT)
                z_g = _add_product(z_g, h, U + 2 * H * H, units, columns, H, H, PRODUCT)
                z_o = _add_product(z_o, h, U + 3 * H * H, units, columns, H, H, PRODUCT)

            i = _sigmoid(z_i + x_i)
            f = _sigmoid(z_f + x_f)
            g = _tanh(z_g + x_g)
            o = _sigmoid(z_o + x_o)
            c = f * c_before + i * g
            h = o * _tanh(c)
            if KIND != "none":
                m = _mask(seed, t, rows, units, threshold, scale, KIND)
                h *= m
                if KIND == "zoneout" or KIND == "zoneout_mean":
                    h += (1.0 - m) * tl.load(states + before + place, mask=mask, other=0.0)
            if lengths is not None:  # after its last step a row keeps its state
                h = tl.where(t < length, h, tl.load(states + before + place, mask=mask, other=0.0))
                c = tl.where(t < length, c, c_before)
            tl.store(states + after + place, h, mask=mask)
            tl.store(cells + (after if SAVE else 0) + place, c, mask=mask)
            if SAVE:
                tl.store(z, i, mask=mask)
                tl.store(z + H, f, mask=mask)
                tl.store(z + 2 * H, g, mask=mask)
                tl.store(z + 3 * H, o, mask=mask)
        tl.debug_barrier()  # the threads of the program read the h of all others at the next step


# fmt: off
@triton.jit(do_not_specialize=["B", "T", "begin", "end", "threshold"])
def backward(grad_gates, U_transposed, gates, cells, grad_output, bypass, grad_c, lengths, seed, threshold, scale,
             B, T, begin, end, H: tl.constexpr, KIND: tl.constexpr, REVERSE: tl.constexpr, PRODUCT: tl.constexpr,
             ROWS: tl.constexpr, UNITS: tl.constexpr, DEPTH: tl.constexpr, PROGRAM_UNITS: tl.constexpr):
    """Run steps of the backward pass; other arguments are those of `forward`.

    grad_gates [T + 1, B, 4, H] gets, at the slot before a step, the gradient of the sums inside its σ and tanh.
    U_transposed is [H, 4, H], grad_output [T, B, H] or None. grad_c [B, H] and bypass [B, H] are gradients of c
    and h, of h only the part that does not pass through the gates of the next step.
    """
    # fmt: on
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(1) * PROGRAM_UNITS
    in_batch = (rows < B)[:, None]
    row_starts = rows.to(tl.int64)[:, None] * H
    zero = tl.full([], 0, tl.int64)
    slot = (zero + B) * H
    if lengths is not None:
        length = tl.load(lengths + rows, mask=rows < B, other=0)[:, None]
    for s in range(begin, end):
        t = zero + (s if REVERSE else T - 1 - s)
        before = (t + 1 if REVERSE else t) * slot
        after = (t if REVERSE else t + 1) * slot
        for j in range(first, first + PROGRAM_UNITS, UNITS):
            units = j + tl.arange(0, UNITS)
            mask = in_batch & (units < H)[None, :]
            place = row_starts + units[None, :]
            z = gates + 4 * (t * slot + row_starts) + units[None, :]
            i = tl.load(z, mask=mask, other=0.0)
            f = tl.load(z + H, mask=mask, other=0.0)
            g = tl.load(z + 2 * H, mask=mask, other=0.0)
            o = tl.load(z + 3 * H, mask=mask, other=0.0)
            c_before = tl.load(cells + before + place, mask=mask, other=0.0)
            c_after = tl.load(cells + after + place, mask=mask, other=0.0)
            grad_c_after = tl.load(grad_c + place, mask=mask, other=0.0)
            grad_h = tl.full([ROWS, UNITS], 0.0, tl.float32)
            for k in range(0, 4 * H, DEPTH):
                columns = k + tl.arange(0, DEPTH)
                in_matrix = in_batch & (columns < 4 * H)[None, :]
                grad = tl.load(grad_gates + 4 * (after + row_starts) + columns[None, :], mask=in_matrix, other=0.0)
                grad_h = _add_product(grad_h, grad, U_transposed, units, columns, 4 * H, H, PRODUCT)

            grad_h += tl.load(bypass + place, mask=mask, other=0.0)
            kept = grad_h  # the gradient where a row has ended
            if grad_output is not None:
                grad_h += tl.load(grad_output + t * slot + place, mask=mask, other=0.0)
            past = tl.full([ROWS, UNITS], 0.0, tl.float32)
            if KIND != "none":
                m = _mask(seed, t, rows, units, threshold, scale, KIND)
                if KIND == "zoneout" or KIND == "zoneout_mean":
                    past = (1.0 - m) * grad_h
                grad_h *= m

            tanh_c = _tanh(c_after)
            d = grad_c_after + grad_h * o * (1.0 - tanh_c * tanh_c)
            grad_i = d * g * i * (1.0 - i)
            grad_f = d * c_before * f * (1.0 - f)
            grad_g = d * i * (1.0 - g * g)
            grad_o = grad_h * tanh_c * o * (1.0 - o)
            d *= f
            if lengths is not None:
                active = t < length
                grad_i = tl.where(active, grad_i, 0.0)
                grad_f = tl.where(active, grad_f, 0.0)
                grad_g = tl.where(active, grad_g, 0.0)
                grad_o = tl.where(active, grad_o, 0.0)
                d = tl.where(active, d, grad_c_after)
                past = tl.where(active, past, kept)
            tl.debug_barrier()  # before a thread stores an element of `bypass`, another may have to load it
            grad_z = grad_gates + 4 * (before + row_starts) + units[None, :]
            tl.store(grad_z, grad_i, mask=mask)
            tl.store(grad_z + H, grad_f, mask=mask)
            tl.store(grad_z + 2 * H, grad_g, mask=mask)
            tl.store(grad_z + 3 * H, grad_o, mask=mask)
            tl.store(grad_c + place, d, mask=mask)
            tl.store(bypass + place, past, mask=mask)
        tl.debug_barrier()
