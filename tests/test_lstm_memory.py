"""Reuse of the large buffers of the native LSTM kernel."""

import gc

import pytest
import torch

from reviver.lstm.kernel import memory

LARGE = memory._MIN_BYTES // 4
"""Floats of the smallest buffer that is kept."""


@pytest.fixture(autouse=True)
def no_kept_buffers():
    gc.collect()
    memory._free.clear()
    yield
    memory._free.clear()


def test_memory_is_reused_only_when_its_tensor_and_all_views_are_gone():
    first = memory.empty(2, LARGE)
    view, address = first[1], first.data_ptr()
    assert first.shape == (2, LARGE)
    assert first.dtype == torch.float32
    view.fill_(3.0)
    del first
    second = memory.empty(2, LARGE)
    assert second.data_ptr() != address
    second.zero_()
    assert view.eq(3.0).all()
    del view
    third = memory.empty(LARGE)  # half of the buffer would do
    assert third.data_ptr() == address


def test_buffers_of_an_unsuitable_size_are_freed():
    del (buffer := [memory.empty(LARGE)])[:]
    assert not buffer
    assert len(memory._free) == 1
    larger = memory.empty(2 * LARGE)
    assert not memory._free
    del larger
    memory.empty(LARGE - 1)  # too small to be kept, and not taken from a kept one
    assert [block.numel() for block in memory._free] == [2 * LARGE]


def test_kept_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(memory, "_MAX_BYTES", 3 * memory._MIN_BYTES)
    buffers = [memory.empty(LARGE) for _ in range(5)]
    assert len({buffer.data_ptr() for buffer in buffers}) == 5
    del buffers
    assert len(memory._free) == 3


def test_float32_whatever_the_defaults():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert all(
                tensor.dtype == torch.float32 and tensor.is_cpu for tensor in (memory.empty(3), memory.empty(LARGE))
            )
    finally:
        torch.set_default_dtype(torch.float32)
