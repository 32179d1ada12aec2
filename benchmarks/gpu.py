"""The Triton kernels of the LSTM: speed, exactness and drift on a CUDA GPU, and whether they compile without one.

- Speed: forward and backward of one batch with hidden dropout 0.5, in alternation with cuDNN, that is `nn.LSTM`, without.
- Exactness: outputs and gradients against `nn.LSTM` in float64, without hidden dropout.
- Drift: the state after T steps against `nn.LSTM` in float64, for each way to multiply float32 numbers.
- Compilation: shared memory, registers and spills of each kernel, as Triton and ptxas report them.

    python -m benchmarks.gpu             on a machine with a CUDA GPU
    python -m benchmarks.gpu --compile   on any machine with Triton

Each writes its part of docs/measurements/gpu.json.
"""

import argparse
import contextlib
import io
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import alternate, ratio, summary
from reviver.files.atomic import write_json
from reviver.lstm.kernel import cuda
from reviver.lstm.kernel.library import Inputs
from reviver.runs.environment import describe_machine

RESULTS = Path(__file__).parents[1] / "docs" / "measurements" / "gpu.json"
PRODUCTS = ("tf32x3", "ieee", "bf16")

SIZES = (32, 64, 128, 256, 512)
SHARED_KB = {80: 99, 90: 227}
"""Shared memory that a program may have, by compute capability. An A100 (8.0) has 163 KB; 99 KB fit 8.6 and 8.9, too."""

SHAPES = ((128, 50, 10, 128), (2048, 256, 128, 128), (128, 200, 10, 256), (64, 100, 64, 512))
"""B, T, I, H of the timings."""

DRIFT_STEPS = (100, 1_000, 10_000, 100_000)


def main() -> None:
    """Measure, or compile; save the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--compile", action="store_true", help="compile the kernels for all sizes; needs no GPU")
    if parser.parse_args().compile:
        found = {"compiled": compile_kernels(SIZES, tuple(SHARED_KB), PRODUCTS), "triton": triton_version()}
    elif cuda.available() and torch.cuda.is_available():
        found = {
            "machine": describe_machine(torch.device("cuda")),
            "speed": speed(),
            "exactness": exactness(),
            "drift": drift(),
        }
    else:
        sys.exit("no CUDA GPU or no Triton; give --compile to compile the kernels without a GPU")
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    write_json(RESULTS, before | found)
    print(json.dumps(found, indent=2))
    if failed := [row for row in found.get("compiled", []) if not fits(row)]:
        sys.exit(f"{len(failed)} kernels spill registers or exceed the shared memory")


# Compilation --------------------------------------------------------------------------------------------------------


def triton_version() -> str:
    """Return the version of Triton."""
    import triton

    return str(triton.__version__)


def fits(row: Mapping[str, Any]) -> bool:
    """Return whether a compiled kernel spills nothing and stays within the shared memory."""
    return bool(row["spills"] == 0 and row["shared_kb"] <= SHARED_KB[row["capability"]])


def compile_kernels(sizes: Sequence[int], capabilities: Sequence[int], products: Sequence[str]) -> list[dict[str, Any]]:
    """Compile both kernels; return for each what it uses: the largest over kinds of dropout and their options."""
    rows = []
    for kernel in ("forward", "backward"):
        for H in sizes:
            for capability in capabilities:
                for product in products:
                    print(
                        f"compiling {kernel}, H = {H}, {product}, compute capability {capability / 10}", file=sys.stderr
                    )
                    found = [compile_one(kernel, H, capability, product, kind) for kind in ("step", "zoneout")]
                    row = {name: max(one[name] for one in found) for name in found[0]}
                    rows.append({"kernel": kernel, "H": H, "capability": capability, "product": product, **row})
    return rows


def compile_one(kernel: str, H: int, capability: int, product: str, kind: str) -> dict[str, Any]:
    """Compile a kernel as `cuda.launch` does; zoneout with lengths and in reverse, which needs the most registers."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from reviver.lstm.kernel import triton_kernels

    function = getattr(triton_kernels, kernel)
    with_lengths = kind == "zoneout"
    sizes, constants, _ = cuda.compilation(kernel, H, cuda.Options(kind, 0.5, with_lengths, product))
    constants |= {"SAVE": True} if kernel == "forward" else {}
    constants |= {} if with_lengths else {"lengths": None}
    types = {"lengths": "*i64", "seed": "*i64", "scale": "fp32", "U": "*bf16", "U_transposed": "*bf16"}
    types |= dict.fromkeys(("B", "T", "begin", "end", "threshold"), "i32")
    if product != "bf16":
        types |= {"U": "*fp32", "U_transposed": "*fp32"}
    signature = {name: "constexpr" if name in constants else types.get(name, "*fp32") for name in function.arg_names}
    pointers = [n for n, name in enumerate(function.arg_names) if signature[name].startswith("*")]
    source = ASTSource(function, signature, constants, {(n,): [["tt.divisibility", 16]] for n in pointers})
    triton.knobs.nvidia.dump_ptxas_log = True
    triton.knobs.compilation.always_compile = True  # a kernel from the cache has no log
    log = io.StringIO()
    with contextlib.redirect_stdout(log):
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=sizes)
    registers = re.search(r"Used (\d+) registers", log.getvalue())
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log.getvalue())
    assert registers, log.getvalue()
    assert spills, log.getvalue()
    return {
        "shared_kb": compiled.metadata.shared / 1024,
        "registers": int(registers[1]),
        "spills": int(spills[1]) + int(spills[2]),
    }


# On a GPU -----------------------------------------------------------------------------------------------------------


def run(lstm: nn.LSTM, x: Tensor, product: str, dropout: float) -> tuple[Tensor, Tensor, Tensor]:
    """Run our kernels with the weights of the only layer of a `torch.nn.LSTM`, from states of zeros."""
    zeros = x.new_zeros(x.shape[1], lstm.hidden_size)
    seed = torch.randint(2**62, (), device=x.device) if dropout else None
    options = cuda.Options("step" if dropout else "none", dropout, False, product)
    return cuda.unroll(Inputs(x, zeros, zeros, *lstm.all_weights[0], None, seed), options)


def speed() -> dict[str, Any]:
    """Return milliseconds, and the ratio to cuDNN round by round, of forward and backward by shape and way to multiply."""
    rows = {}
    for B, T, I, H in SHAPES:  # noqa: E741
        lstm, x = nn.LSTM(I, H, device="cuda"), torch.randn(T, B, I, device="cuda")

        def timed(forward: Callable[[], Tensor], lstm: nn.LSTM = lstm) -> Callable[[], None]:
            def step() -> None:
                lstm.zero_grad()
                forward().sum().backward()
                torch.cuda.synchronize()

            return step

        def ours(product: str, lstm: nn.LSTM = lstm, x: Tensor = x) -> Callable[[], None]:
            return timed(lambda: run(lstm, x, product, 0.5)[0], lstm)

        contenders = {"cuDNN": timed(lambda lstm=lstm, x=x: lstm(x)[0])} | {name: ours(name) for name in PRODUCTS}
        seconds = alternate(contenders, rounds=20, warmup=3)
        rows[f"{B},{T},{I},{H}"] = {
            name: {"milliseconds": summary([1e3 * s for s in values]), "to cuDNN": ratio(values, seconds["cuDNN"])}
            for name, values in seconds.items()
        }
    return rows


def relative(tensor: Tensor, exact: Tensor) -> float:
    """Return the largest error relative to the largest element."""
    return ((tensor - exact).abs().max() / exact.abs().max()).item()


def exactness() -> dict[str, Any]:
    """Return the relative errors of output and gradients by H and way to multiply."""
    rows: dict[str, Any] = {}
    for H in SIZES:
        torch.manual_seed(H)
        lstm, x = nn.LSTM(10, H, device="cuda"), torch.randn(50, 33, 10, device="cuda")
        exact = nn.LSTM(10, H, device="cuda", dtype=torch.float64)
        exact.load_state_dict(lstm.state_dict())
        expected, _ = exact(x.double())
        expected_grads = torch.autograd.grad(expected.square().sum(), list(exact.parameters()))
        for product in PRODUCTS:
            output, _, _ = run(lstm, x, product, 0.0)
            grads = torch.autograd.grad(output.square().sum(), list(lstm.parameters()))
            errors = [relative(ours, theirs) for ours, theirs in zip(grads, expected_grads, strict=True)]
            rows.setdefault(str(H), {})[product] = {"output": relative(output, expected), "gradients": max(errors)}
    return rows


def drift() -> dict[str, Any]:
    """Return the relative error of the last h by number of steps and way to multiply; cuDNN's as a peer."""
    torch.manual_seed(0)
    lstm = nn.LSTM(1, 128, device="cuda")
    with torch.no_grad():
        lstm.bias_hh_l0[128:256] = 4.0  # open forget gates, so that an error stays in c
    exact = nn.LSTM(1, 128, device="cuda", dtype=torch.float64)
    exact.load_state_dict(lstm.state_dict())
    rows: dict[str, Any] = {}
    with torch.no_grad():
        for T in DRIFT_STEPS:
            x = torch.randn(T, 4, 1, device="cuda")
            expected = exact(x.double())[1][0][0]
            rows[str(T)] = {p: relative(run(lstm, x, p, 0.0)[1], expected) for p in ("tf32x3", "ieee")}
            rows[str(T)]["cuDNN"] = relative(lstm(x)[1][0][0], expected)
    return rows


if __name__ == "__main__":
    main()
