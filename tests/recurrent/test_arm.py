"""The native kernel compiled for 64-bit Arm and run by QEMU, against the kernel of this machine.

Skipped where the cross compiler or QEMU is missing: on Debian the packages g++-aarch64-linux-gnu and qemu-user.
"""

import ctypes
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from reviver.recurrent import kernel, native_pass
from reviver.recurrent.dropout import draw_seed
from reviver.recurrent.kernel import library
from reviver.recurrent.kernel.native import FLAGS
from reviver.recurrent.kernel.prebuilt import VARIANTS
from reviver.recurrent.lstm import HELD, LSTM
from tools.wheel import compile_library

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
REPLAY = Path(__file__).parent / "arm" / "replay.cpp"

NULL, TABLE, STRUCTURE = -1, -2, -3
"""In place of a number of bytes in a record."""

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

    def reviver_cell_forward(self, call):
        self.record(0, call, self.library.reviver_cell_forward)

    def reviver_cell_backward(self, call):
        self.record(1, call, self.library.reviver_cell_backward)

    def record(self, backward, call, function):
        blobs = []
        self.before += struct.pack("q", backward) + content_of(call, pointers_of(call), blobs)
        function(call)
        self.after.append([(name, ctypes.string_at(address, size)) for name, address, size in blobs])


def content_of(owner, pointers, blobs):
    """A structure as replay.cpp reads it: its bytes, and for each pointer its offset and what stands there; see `pointers_of`."""
    content = struct.pack("qqq", STRUCTURE, ctypes.sizeof(owner), len(pointers)) + bytes(owner)
    for name, size in pointers.items():
        address = getattr(owner, name)
        content += struct.pack("q", getattr(type(owner), name).offset)
        if not address:
            content += struct.pack("q", NULL)
        elif name == "plan":
            plan = library.PlanArrays.from_address(address)
            content += content_of(plan, plan_pointers_of(plan), [])
        elif isinstance(size, list):
            table = (ctypes.c_void_p * len(size)).from_address(address)
            content += struct.pack("qq", TABLE, len(size))
            for at, bytes_there in zip(table, size, strict=True):
                content += struct.pack("q", bytes_there) + ctypes.string_at(at, bytes_there)
                blobs.append((name, at, bytes_there))
        else:
            content += struct.pack("q", size) + ctypes.string_at(address, size)
            if type(owner) is library.Call:
                blobs.append((name, address, size))
    return content


def pointers_of(call):
    """Number of bytes behind every pointer of a call over all steps; a list for the entries of a table of pointers."""
    T, B, I, H, P, steps = call.T, call.B, call.I, call.H, call.P, call.end - call.begin  # noqa: E741
    plan = library.PlanArrays.from_address(call.plan)
    states, sums, row = plan.states, plan.sums, plan.slots * P + -(-plan.scalars // 16) * 16
    others = [4 * B * P * (T if call.saving else 2)] * (states - 1)
    sizes = {"seed": 8, "lengths": 8 * B, "x": 4 * T * B * I, "plan": 0}
    sizes |= {"weights": [16 * H * I, 16 * H * H, 16 * H, 16 * H], "initial": [4 * B * P] * states}
    sizes |= {"history": [4 * T * B * P, *others], "last": [4 * B * P] * states, "slot": 4 * T * B * row}
    sizes |= {"grad_output": 4 * T * B * P, "grad_last": [4 * B * P] * states, "grad_initial": [4 * B * P] * states}
    sizes |= {"carry": [8 * B * P] * states, "grad_sums": 4 * steps * B * sums * P, "grad_W": 4 * sums * P * I}
    return sizes | {"grad_U": 4 * sums * P * H, "grad_vector": 4 * plan.vectors * P}


def plan_pointers_of(plan):
    """The same of a plan, whose lists have rows of some numbers of 4 bytes up to the end of the last segment."""
    sizes = {
        "W": 8 * plan.sums,
        "U": 8 * plan.sums,
        "b": 4 * plan.sums,
        "vector": 16 * plan.vectors,
        "number": 4 * plan.numbers,
    }
    lists = {"forward": 8, "forward_places": 1, "groups": 4, "backward": 8, "backward_places": 1, "products": 4}
    for name, width in lists.items():
        segments = (
            plan.backward_segments if name in ("backward", "backward_places", "products") else plan.forward_segments
        )
        ends = (ctypes.c_int32 * segments).from_address(getattr(plan, f"{name}_ends"))
        sizes |= {name: 4 * width * ends[-1], f"{name}_ends": 4 * segments}
    return sizes


def recorded(monkeypatch):
    """Run all cases here; return the record of their calls."""
    recorder = Recorder()
    monkeypatch.setattr(library, "load", lambda: recorder)
    monkeypatch.setattr(library, "empty", lambda *shape: torch.zeros(shape))  # else rows that ended hold anything
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for T, B, I, H, kind, p, lengths, reverse, precision in CASES:  # noqa: E741
            torch.manual_seed(0)
            lstm = LSTM(I, H, hidden_dropout=p, hidden_dropout_kind=kind, precision=precision)
            h, c = torch.randn(B, H, requires_grad=True), torch.randn(B, H)
            steps = torch.randint(1, T + 1, (B,)) if lengths else None
            x, seed = torch.randn(T, B, I), draw_seed() if p > 0.0 else None
            weights = [*lstm.stacked_weights()[:4]]
            output, state = native_pass.run(lstm.cell, HELD, weights, x, [h, c], steps, lstm.options, seed, reverse)
            (output.square().sum() + sum(entry.sum() for entry in state)).backward()
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
        command.append(tmp_path / "cell.so")
        compile_library(COMPILER, command[-1], library.KERNEL.source, (*FLAGS, *VARIANTS["aarch64"].flags))
    code = subprocess.run(command, check=False).returncode
    assert code != 3, "the mode in which denormal numbers count as zero was not restored"
    assert code == 0

    there = results.read_bytes()
    assert len(recorder.after) == 2 * len(CASES)
    for number, arrays in enumerate(recorder.after):
        _, _, _, H, kind, p, _, _, precision = CASES[number // 2]
        for at, (name, here) in enumerate(arrays):
            ours, there = np.frombuffer(there[: len(here)], np.float32), there[len(here) :]
            expected = np.frombuffer(here, np.float32)
            if name == "carry":  # of an odd and an even step, of which a call reads what it wrote
                continue
            if name in ("seed", "lengths"):
                assert np.array_equal(ours.view(np.int64), expected.view(np.int64))
                continue
            if name not in ("x", "weights"):  # padded units may be anything
                shape = (4, -(-H // 16) * 16, -1) if name in ("grad_W", "grad_U") else (-1, -(-H // 16) * 16, 1)
                ours, expected = ours.reshape(shape)[:, :H], expected.reshape(shape)[:, :H]
            if name == "history" and arrays[at - 1][0] != "history" and p > 0.0 and kind != "zoneout":
                assert np.array_equal(ours == 0.0, expected == 0.0)  # the same units are dropped
            scale = max(1e-3, np.abs(expected).max())
            assert np.abs(ours - expected).max() <= (1e-5 if precision == "fp32" else 1e-2) * scale, (number, name)
    assert not there
