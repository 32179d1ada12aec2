"""The native LSTM kernel: what `network.unroll` computes, as one C++ operator for float32 on a CPU."""

from reviver.lstm.kernel.kernel import applies, available, reference, unroll

__all__ = ["applies", "available", "reference", "unroll"]
