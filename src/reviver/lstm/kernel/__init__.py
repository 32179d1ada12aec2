"""The native LSTM kernel: what `equations.unroll` computes, as one C++ operator for float32 on a CPU."""

from reviver.lstm.kernel.kernel import applies, available, is_switched_off, reference, unroll

__all__ = ["applies", "available", "is_switched_off", "reference", "unroll"]
