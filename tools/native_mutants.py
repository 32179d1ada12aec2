"""Mutants of the native kernel, made by hand: each must be noticed by the kernel's tests. `make mutants-native` runs it.

Each mutant is applied to a copy of the sources, compiled, and tested up to the first failure, in a forked process, which
may crash. The sources as they are come first and must pass.
"""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from reviver.recurrent.kernel.library import KERNEL
from reviver.recurrent.kernel.native import FLAGS, compile_library

ROOT = Path(__file__).parents[1]
TESTS = "built_in_texts or random_texts or stacked_weights or thread_count or share_the_units or denormal"
"""Tests of tests/recurrent/test_kernel.py that run."""
AMX = f"-include {ROOT / 'tests/recurrent/amx_emulation.h'}"
SECONDS = 600
"""Time after which a mutant that hangs is ended; an endless loop counts as noticed."""


class Mutant(NamedTuple):
    """A change of one place."""

    file: str
    old: str
    new: str
    breaks: str
    flags: str = ""


MUTANTS = [
    # Functions and instructions
    Mutant("vectors.h", "return clamp(-z, -44.0f", "return clamp(z, -44.0f", "sign of the argument of a sigmoid"),
    Mutant("vectors.h", "clamp(z + z, -20.0f", "clamp(z, -20.0f", "tanh of half the argument"),
    Mutant("vectors.h", "return {e_minus_1, e_minus_1 + 2.0f};", "return {e_minus_1, e_minus_1 + 1.0f};", "tanh"),
    Mutant("vectors.h", "second = b.n * a.d * inverse;", "second = b.n * b.d * inverse;", "second of two quotients"),
    Mutant("program.h", "acc[n] * load(of(b, n)) + load(of(c, n))", "acc[n] * load(of(b, n)) - load(of(c, n))", "sum of a product"),
    Mutant("program.h", "load(of(b, n)) * load(of(c, n)) + acc[n]", "load(of(b, n)) * load(of(c, n)) - acc[n]", "product that is added"),
    Mutant("program.h", "acc[n] *= load(of(i[6], n));", "acc[n] += load(of(i[6], n));", "factor of an instruction"),
    Mutant("program.h", "load(of(i[7], n)) + acc[n]", "acc[n]", "sum of the gradients of a vector over rows"),
    Mutant("program.h", "acc[n] = acc[n] * y * (1.0f - y)", "acc[n] = acc[n] * y * (1.0f + y)", "derivative of a sigmoid"),
    Mutant("program.h", "acc[n] *= 1.0f - y * y;", "acc[n] *= 1.0f + y * y;", "derivative of tanh"),
    Mutant("program.h", "x == y ? 0.5f * acc[n]", "x == y ? acc[n]", "gradient of a maximum of equal numbers"),
    Mutant("program.h", "- mean_g - load(y + j) * mean_gy", "- mean_g", "gradient of a normalization"),
    Mutant("matmul.h", "k = from_last ? end - 1 : begin", "k = from_last ? end - 2 : begin", "sum from the last summand to the first"),
    Mutant("forward.h", "false, length * m / M);", "false, length * m / M + (m > 0));", "a summand lost between two parts of a sum"),
    # Dropout
    Mutant("program.h", "m * acc[n] + (1.0f - m) * load", "m * acc[n] + m * load", "zoneout keeps the other units"),
    Mutant("program.h", "acc[n] *= mask(n);", "acc[n] *= 1.0f;", "missing mask in the backward pass"),
    Mutant("program.h", "acc[n] *= 1.0f - mask(n);", "acc[n] *= mask(n);", "gradient past the gates in zoneout"),
    Mutant("dropout.h", "kind == variational ? 0 : t", "kind == step ? 0 : t", "one mask for all steps"),
    Mutant("dropout.h", "((t << 32) + b + 1)", "((t << 32) + b)", "key of a row"),
    Mutant("dropout.h", "x < (threshold + uvec{})", "x > (threshold + uvec{})", "which units are dropped"),
    Mutant("dropout.h", "call.dropout * 4294967296.0 + 0.5", "call.dropout * 4294967296.0 * 0.97", "probability of dropout"),
    # States, weights and their gradients
    Mutant("program.h", "part(from[0], from[1]) + part(from[2], from[3])", "part(from[0], from[1])", "second bias"),
    Mutant("program.h", "source[1] * call.H * columns", "source[1] * call.H", "matrix in a tensor with several"),
    Mutant("program.h", "t + 1 == std::min(length, call.saved_end)", "t + 1 == call.saved_end", "first step in reverse"),
    Mutant("program.h", "previous(call, t)), call.initial[index]", "t), call.initial[index]", "state before a step"),
    Mutant("program.h", "call.grad_initial[index], Edge::first)", "call.grad_initial[index], Edge::last)", "gradient of the initial state"),
    Mutant("backward.h", "panel.product[1] ? load(to) + sums[m][n]", "panel.product[1] ? sums[m][n]", "gradient past the products"),
    Mutant("backward.h", "call.grad_vector[k] += partial[k];", "call.grad_vector[k] = partial[k];", "gradient of a vector over chunks"),
    Mutant("backward.h", "previous(call, t)) + b * P", "previous(call, t)) + b / 2 * P", "operand of the gradients of weights"),
    Mutant("weight_gradients.h", "store(sum, load(sum, columns[n].count) + sums[m][n]", "store(sum, sums[m][n]", "sum over blocks of rows"),
    # Blocks, lengths, strides, threads
    Mutant("program.h", "= group * stride(operands[k]);", "= stride(operands[k]);", "stride from group to group"),
    Mutant("rows.h", "/ blocks - first));", "/ blocks - first - (blocks > 1)));", "a lost row at the edge of a block"),
    Mutant("rows.h", "return length > t; }", "return length >= t; }", "length of a sequence"),
    Mutant("forward.h", "(part + 1) / threads], threads", "part / threads] + V, threads", "units of a thread of one sequence"),
    Mutant("rows.h", "~FlushToZero() { _mm_setcsr(saved); }", "~FlushToZero() {}", "mode of denormal numbers, not restored"),
    Mutant("matmul.h", "multiple = Format::depth == 2 ? amx_words : 1;", "multiple = 1;", "padding of operands for AMX", AMX),
    Mutant("amx.h", "_tile_dpbf16ps(3, 4, 5);", "_tile_dpbf16ps(3, 4, 7);", "operand of the fourth vector with AMX", AMX),
    Mutant("amx.h", "std::min(size, n - first));", "std::min(size, n - first) - (n > 12));", "lost row of a block with AMX", AMX),
]  # fmt: skip
"""Text that stands once in its file, what takes its place, and what that breaks."""


def apply(mutant: Mutant, sources: Path) -> None:
    """Change the copy of the sources; fail unless the text stands there exactly once."""
    path = sources / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.file} must have this text once, has it {text.count(mutant.old)} times: {mutant.old}")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def notices(mutant: Mutant | None, folder: Path) -> bool:
    """Return whether the kernel's tests fail with a mutant, or with the sources as they are."""
    sources = folder / "sources"
    shutil.copytree(KERNEL.source.parent, sources, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    if mutant is not None:
        apply(mutant, sources)
    os.environ["REVIVER_CXXFLAGS"] = f"-O1 {mutant.flags if mutant is not None else ''}"
    os.environ["REVIVER_CACHE"] = str(folder)
    compile_library(KERNEL.name, sources / "cell.cpp", FLAGS, folder)  # a mutant must compile
    process = multiprocessing.get_context("fork").Process(target=run_tests, args=(sources / "cell.cpp",))
    process.start()
    process.join(SECONDS)
    process.kill()
    process.join()
    return process.exitcode != 0


def run_tests(source: Path) -> None:
    """Run the kernel's tests with another source, and exit with pytest's code."""
    KERNEL.source = source
    options = ["-x", "--tb=no", "-p", "no:cacheprovider", "--hypothesis-profile=mutants", "-k", TESTS]
    with Path(os.devnull).open("w", encoding="utf-8") as nothing:
        sys.stdout = sys.stderr = nothing
        code = pytest.main([*options, str(ROOT / "tests/recurrent/test_kernel.py")])
    os._exit(int(code))


def has_bf16() -> bool:
    """Return whether the compiler has instructions of bfloat16 for this processor, which the emulation of AMX needs."""
    command = ["c++", "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    return b"__AVX512BF16__" in subprocess.run(command, capture_output=True, check=True).stdout


def main() -> None:
    """Test all mutants; exit with 1 if one is not noticed."""
    noticed, survivors = 0, []
    torch.set_num_threads(1)  # a fork of a process that has used more hangs
    with tempfile.TemporaryDirectory() as name:
        if notices(None, Path(name) / "unchanged"):
            raise SystemExit("the kernel's tests fail without a mutant")
        for number, mutant in enumerate(MUTANTS):
            if mutant.flags and not has_bf16():
                print(f"{number}: not tried, this processor has no bfloat16: {mutant.breaks}")
                continue
            found = notices(mutant, Path(name) / str(number))
            noticed += found
            survivors += [] if found else [number]
            print(f"{number}: {'noticed' if found else 'SURVIVES'}: {mutant.file}: {mutant.breaks}", flush=True)
    print(f"{noticed} of {noticed + len(survivors)} mutants of the native kernel are noticed")
    raise SystemExit(bool(survivors))


if __name__ == "__main__":
    main()
