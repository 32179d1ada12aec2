"""The native kernel compiled for 64-bit Arm and run by QEMU, against the kernel of this machine.

Skipped where the cross compiler or QEMU is missing: on Debian the packages g++-aarch64-linux-gnu and qemu-user.
"""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from reviver.recurrent import kernel
from reviver.recurrent.dropout import draw_seed
from reviver.recurrent.kernel import library
from reviver.recurrent.kernel.native import FLAGS
from reviver.recurrent.kernel.prebuilt import VARIANTS
from reviver.recurrent.lstm import LSTM
from reviver.recurrent.lstm_step import LSTMState
from tools.wheel import compile_library

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
REPLAY = Path(__file__).parent / "arm" / "replay.cpp"

pytestmark = pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR) and kernel.available()),
    reason=f"needs {COMPILER}, {EMULATOR} and the native kernel",
)

CASES = [  # T, B, I, H, kind, p, lengths, reverse, precision
    (5, 7, 3, 18, "step", 0.5, True, False, "fp32"),
    (5, 7, 3, 18, "variational", 0.3, False, True, "fp32"),
    (4, 6, 5, 21, "zoneout", 0.3, True, True, "fp32"),
    (3, 1, 1, 1, "step", 0.0, False, False, "fp32"),
    (40, 33, 10, 40, "step", 0.5, False, False, "fp32"),  # enough work for several threads
    (5, 7, 3, 18, "step", 0.5, True, False, "bf16"),
    (4, 6, 5, 21, "zoneout", 0.3, False, True, "bf16"),
    (40, 33, 10, 40, "variational", 0.5, False, False, "bf16"),
]


class Recorder:
    """Stands for the compiled library: passes calls on, and keeps what their pointers point to before and after."""

    def __init__(self):
        self.library = library.KERNEL.library
        self.before, self.after = b"", []

    def reviver_lstm_forward(self, call):
        self.record(0, call, self.library.reviver_lstm_forward)

    def reviver_lstm_backward(self, call):
        self.record(1, call, self.library.reviver_lstm_backward)

    def record(self, backward, call, function):
        pointers = list(pointers_of(call))
        self.before += bytes(ctypes.c_int64(backward)) + bytes(call)
        for _, pointer, bytes_there in pointers:
            size = -1 if pointer is None else bytes_there
            self.before += bytes(ctypes.c_int64(size)) + (b"" if pointer is None else ctypes.string_at(pointer, size))
        function(call)
        present = [(name, pointer, size) for name, pointer, size in pointers if pointer is not None]
        self.after.append([(name, ctypes.string_at(pointer, size)) for name, pointer, size in present])


def pointers_of(call):
    """Name, address and number of bytes of every pointer of a call over all steps, in the order of the fields."""
    T, B, I, H, S = call.T, call.B, call.I, call.H, call.end - call.begin  # noqa: E741
    sizes = {"seed": 2, "lengths": 2 * B, "W": 4 * H * I, "U": 4 * H * H, "b_ih": 4 * H, "b_hh": 4 * H}
    sizes |= {"x": T * B * I, "h": B * H, "c": B * H, "output": T * B * H, "gates": 4 * T * B * H, "cells": T * B * H}
    sizes |= {"h_last": B * H, "c_last": B * H, "grad_output": T * B * H, "grad_h": B * H, "grad_c": B * H}
    sizes |= {"grad_gates": 4 * S * B * H, "grad_W": 4 * H * I, "grad_U": 4 * H * H, "grad_b": 4 * H}
    for name, size in sizes.items():
        yield name, getattr(call, name), 4 * size


def recorded(monkeypatch):
    """Run all cases here; return the record of their calls."""
    recorder = Recorder()
    monkeypatch.setattr(library, "load", lambda: recorder)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for T, B, I, H, kind, p, lengths, reverse, precision in CASES:  # noqa: E741
            torch.manual_seed(0)
            lstm = LSTM(I, H, hidden_dropout=p, hidden_dropout_kind=kind, precision=precision)
            h, c = torch.randn(B, H, requires_grad=True), torch.randn(B, H)
            steps = torch.randint(1, T + 1, (B,)) if lengths else None
            x, options = torch.randn(T, B, I), {"options": lstm.options, "seed": draw_seed() if p > 0.0 else None}
            output, state = kernel.run_cell(
                lstm.stacked_weights(), x, LSTMState(h, c), steps, reverse=reverse, **options
            )
            (output.square().sum() + state.h.sum() + state.c.sum()).backward()
    finally:
        torch.set_num_threads(threads)
    return recorder


@pytest.mark.long
@pytest.mark.parametrize("kind", ["OpenMP", "threads of C++", "prebuilt"])
def test_arm_computes_the_same(kind, tmp_path, monkeypatch):
    """The library is compiled as it is shipped; the programs with less optimization, which halves the time."""
    program, calls, results = tmp_path / "replay", tmp_path / "calls", tmp_path / "results"
    flags = [flag for flag in FLAGS if flag not in ("-shared", "-fPIC")]
    flags += [] if kind == "threads of C++" else ["-fopenmp"]
    # A static program loads no library, and the other one computes nothing itself.
    flags += ["-O0", "-Wl,--no-as-needed"] if kind == "prebuilt" else ["-O1", "-static"]
    subprocess.run([COMPILER, *flags, "-pthread", REPLAY, "-o", program], check=True)
    recorder = recorded(monkeypatch)
    calls.write_bytes(recorder.before)
    command = [EMULATOR, "-L", "/usr/aarch64-linux-gnu", program, calls, results]
    if kind == "prebuilt":
        command.append(tmp_path / "lstm.so")
        compile_library(COMPILER, command[-1], library.KERNEL.source, (*FLAGS, *VARIANTS["aarch64"].flags))
    code = subprocess.run(command, check=False).returncode
    assert code != 3, "the mode in which denormal numbers count as zero was not restored"
    assert code == 0

    there = results.read_bytes()
    assert len(recorder.after) == 2 * len(CASES)
    for number, arrays in enumerate(recorder.after):
        _, _, _, _, kind, p, _, _, precision = CASES[number // 2]
        for name, here in arrays:
            ours, there = np.frombuffer(there[: len(here)], np.float32), there[len(here) :]
            expected = np.frombuffer(here, np.float32)
            if name == "output" and p > 0.0 and kind != "zoneout":
                assert np.array_equal(ours == 0.0, expected == 0.0)  # the same units are dropped
            if name in ("seed", "lengths"):
                assert np.array_equal(ours.view(np.int64), expected.view(np.int64))
            else:
                scale = max(1e-3, np.abs(expected).max())
                assert np.abs(ours - expected).max() <= (1e-5 if precision == "fp32" else 1e-2) * scale, (number, name)
    assert not there
