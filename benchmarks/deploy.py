"""A trained network as C: the time of a step beside RTNeural, ONNX Runtime and torch, bytes of flash, and how exact it is.

It needs gcc and g++, `ziglang` from the package index for the Cortex-M4, and RTNeural with xsimd in build/deploy, which
it clones. A time of C or C++ is the least of many rounds, so that other work of the machine does not count.
"""

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from benchmarks.measure import ROOT, machine, trained
from reviver import LSTMClassifier, RNNClassifier, to_c, train_lstm
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.recurrent.emit import layer_cells
from reviver.recurrent.onnx import step_graph
from reviver.settings.lstm_network import CELLS
from reviver.train.lstm.scoring import score

HERE, FOLDER = Path(__file__).parent, ROOT / "build" / "deploy"
SOURCES = {
    "RTNeural": ("https://github.com/jatinchowdhury18/RTNeural", FOLDER / "RTNeural"),
    "xsimd": ("https://github.com/xtensor-stack/xsimd", FOLDER / "RTNeural" / "modules" / "xsimd"),
}
FAST = ("-O3", "-march=native")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffreestanding")
ZIG = (sys.executable, "-m", "ziglang", "cc")
CORTEX = ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4+vfp4d16sp", "-Oz", "-fno-unwind-tables")
TARGETS = {
    "Cortex-M4": CORTEX,
    "AVR": ("-target", "avr-freestanding", "-mcpu=atmega2560", "-Os", "-Wno-avr-rtlib-linking-quirks"),
    "RISC-V": ("-target", "riscv32-freestanding", "-Os"),
}
INPUTS, C, STEPS, ROUNDS, REPEATS = 10, 10, 300, 300, 5
BOARD = '#include "net.h"\nvoid start(net_state *s) { net_init(s); }\n'
BOARD += "void step(net_state *s, const float *x, float *y) { net_step(s, x, y); }\n"
LOGITS = """
#include <stdio.h>
#include "net.h"
int main(void) {
    static net_state state;
    float x[NET_INPUTS], y[NET_OUTPUTS];
    net_init(&state);
    while (fread(x, sizeof x, 1, stdin) == 1) { net_step(&state, x, y); fwrite(y, sizeof y, 1, stdout); }
    return 0;
}
"""


def network_of(cell: str, H: int, seed: int = 0) -> RecurrentClassifier:
    """Return a classifier with new weights, its biases included."""
    torch.manual_seed(seed)
    network: RecurrentClassifier = LSTMClassifier(INPUTS, H, C) if cell == "lstm" else RNNClassifier(cell, INPUTS, H, C)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def compile_c(
    code: str, source: str, name: str, flags: tuple[str, ...] = FAST, compiler: tuple[str, ...] = ("gcc",)
) -> Path:
    """Compile a program, or an object file with -c, whose source includes the code as net.h."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.h").write_text(code)
    (folder / "main.c").write_text(source)
    command = [*compiler, *flags, "-I", str(folder), str(folder / "main.c"), "-o", str(folder / "main")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "main"


def nanoseconds(program: Path, *words: object) -> tuple[list[float], float]:
    """Run a program that prints logits and a time; return both."""
    command = [str(program), *map(str, words), str(STEPS), str(ROUNDS)]
    *logits, spent = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    return logits, spent


# Peers ----------------------------------------------------------------------------------------------------------------


def rtneural_programs() -> dict[str, Path]:
    """Compile RTNeural's backends with and without -ffast-math."""
    for url, folder in SOURCES.values():
        if not any(folder.glob("*")):
            subprocess.run(["git", "clone", "--depth", "1", url, str(folder)], check=True)
    rtneural, programs = SOURCES["RTNeural"][1], {}
    includes = [f"-I{rtneural / part}" for part in ("", "modules/xsimd/include", "modules/Eigen", "modules/json")]
    for backend, alignment in (("STL", 64), ("XSIMD", 64), ("EIGEN", 32)):
        for flag in ((), ("-ffast-math",)):
            program = FOLDER / "-".join(["rtneural", backend.lower(), *(word.strip("-") for word in flag)])
            defines = [f"-DRTNEURAL_USE_{backend}=1", f"-DRTNEURAL_DEFAULT_ALIGNMENT={alignment}"]
            defines += ["-DEIGEN_STACK_ALLOCATION_LIMIT=0"]
            source = str(HERE / "deploy_rtneural.cpp")
            command = ["g++", "-std=c++17", "-w", *FAST, *flag, *defines, *includes, source, "-o", str(program)]
            subprocess.run(command, check=True)
            programs[f"RTNeural {backend}{''.join(f' {word}' for word in flag)}"] = program
    return programs


def write_keras(network: RecurrentClassifier, cell: str, x: np.ndarray, path: Path) -> None:
    """Write the weights in the order of Keras, whose GRU has two biases, then the inputs."""
    (weights,) = layer_cells(network)[1]
    gates = {"lstm": "ifco", "gru": "zrn"}[cell[:4].removesuffix("-")]
    W, U = (torch.cat([weights[f"{kind}_{gate}"] for gate in gates]).T for kind in "WU")
    biases = [torch.cat([weights[f"b_{gate}"] for gate in gates])]
    if gates == "zrn":
        H = U.shape[0]
        biases += [torch.cat([torch.zeros(2 * H), weights["a_n"] if "a_n" in weights else torch.zeros(H)])]
    parts = [W, U, *biases, network.W_out, network.b_out, torch.from_numpy(x)]
    path.write_bytes(b"".join(part.detach().contiguous().numpy().tobytes() for part in parts))


def onnx_step(network: RecurrentClassifier, x: np.ndarray) -> Callable[[], float]:
    """Return a function that returns the nanoseconds of a step of ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    graph = step_graph(network)
    session = onnxruntime.InferenceSession(graph.model("net", "", {}).SerializeToString(), options)
    states = [port.name for port in graph.inputs[1:]]
    names = ["logits", *(f"{name}_after" for name in states)]

    def run() -> float:
        feed = {name: np.zeros((1, network.recurrent.hidden_size), np.float32) for name in states}
        begin = time.perf_counter_ns()
        for t in range(STEPS):
            found = session.run(names, {"x": x[t % len(x) :][:1], **feed})
            feed = dict(zip(states, found[1:], strict=True))
        return (time.perf_counter_ns() - begin) / STEPS

    return run


def torch_step(network: RecurrentClassifier, cell: str, x: np.ndarray) -> Callable[[], float]:
    """Return a function that returns the nanoseconds of a step of torch's own cell and linear layer."""
    H = network.recurrent.hidden_size
    module: Any = torch.nn.LSTMCell(INPUTS, H) if cell == "lstm" else torch.nn.GRUCell(INPUTS, H)
    linear, inputs = torch.nn.Linear(H, C), torch.from_numpy(x)

    @torch.inference_mode()
    def run() -> float:
        state, begin = None, time.perf_counter_ns()
        for t in range(STEPS):
            state = module(inputs[t % len(x) :][:1], state)
            linear(state[0] if cell == "lstm" else state)
        return (time.perf_counter_ns() - begin) / STEPS

    return run


def measure_speed() -> dict[str, Any]:
    """Return nanoseconds of a step by network and by what runs it, in alternation; RTNeural's logits are checked."""
    peers, found = rtneural_programs(), {}
    x = np.random.default_rng(0).normal(size=(64, INPUTS)).astype(np.float32)
    (FOLDER / "x.bin").write_bytes(x.tobytes())
    torch.set_num_threads(1)
    for cell in ("lstm", "gru", "gru-cudnn"):
        for H in (16, 64, 128):
            network, file = network_of(cell, H), FOLDER / "keras.bin"
            write_keras(network, cell, x, file)
            ours = compile_c(to_c(network), (HERE / "deploy_step.c").read_text(), f"{cell}-{H}")
            python = {"ONNX Runtime": onnx_step(network, x), "torch": torch_step(network, cell, x)}
            times: dict[str, list[float]] = {}
            for _ in range(REPEATS):
                logits, spent = nanoseconds(ours, FOLDER / "x.bin")
                times.setdefault("C", []).append(spent)
                for name, program in peers.items():
                    theirs, spent = nanoseconds(program, cell[:4].removesuffix("-"), H, file)
                    assert cell == "gru" or np.abs(np.subtract(logits, theirs)).max() < 1e-4, name  # another GRU
                    times.setdefault(name, []).append(spent)
                for name, run in python.items():
                    times.setdefault(name, []).append(min(run() for _ in range(10)))
            found[f"{cell} {H}"] = {name: min(values) for name, values in times.items()}
            print(cell, H, found[f"{cell} {H}"], file=sys.stderr, flush=True)
    return found


# Sizes ----------------------------------------------------------------------------------------------------------------


def measure_sizes() -> dict[str, Any]:
    """Return bytes of flash, of a state and of the stack on a Cortex-M4; and for which other processors it compiles."""
    found = {}
    for cell, H, weights in (
        *(("lstm", 16, kind) for kind in ("float", "fp16", "int8")),
        *(("gru", 16, kind) for kind in ("float", "int8")),
        *(("lstm", 64, kind) for kind in ("float", "int8")),
    ):
        code, name = to_c(network_of(cell, H), weights=weights), f"size-{cell}-{H}-{weights}"  # type: ignore[arg-type]
        stack = 0
        for target, flags in TARGETS.items():
            if target == "AVR" and H > 16:  # whose pointers have 16 bits
                continue
            compile_c(code, BOARD, name, (*flags, *STRICT, "-c"), ZIG)
            if target == "Cortex-M4":
                row = subprocess.run(["size", "-A", FOLDER / name / "main"], check=True, capture_output=True, text=True)
                sections = [line.split() for line in row.stdout.splitlines()]
                kept = (".text", ".rodata", ".data")
                flash = sum(int(words[1]) for words in sections if words and words[0].startswith(kept))
                compile_c(code, BOARD, name, (*flags, "-std=c99", "-S"), ZIG)
                stack = stack_of((FOLDER / name / "main").read_text())
        found[f"{cell} {H} {weights}"] = {"flash": flash, "state": 4 * H * (2 if cell == "lstm" else 1), "stack": stack}
    return {"compiler": f"zig cc {' '.join(CORTEX)}", "compiles": list(TARGETS), "networks": found}


def stack_of(assembly: str) -> int:
    """Return the bytes of the stack that `step` of an assembly for Thumb takes, at most: those of all functions."""
    total, count = 0, {"push": 4, "vpush": 8}
    for line in assembly.splitlines():
        words = line.replace(".w", "").split(None, 1)
        if words and words[0] in count:
            total += count[words[0]] * len(words[1].partition("@")[0].split(","))
        elif words[:1] == ["sub"] and words[1].startswith("sp,"):
            total += int(words[1].split("#")[1].split()[0])
    return total


# Numbers --------------------------------------------------------------------------------------------------------------


def random_text(rng: random.Random) -> str:
    """Return a text with up to 3 states, products of products, and every function where it is finite."""
    states, seen = rng.sample(["c", "m"], rng.randint(0, 2)), list[str]()

    def atom() -> str:
        leaves = ["W_{} @ x", "W_{} @ x", "b_{}", "{}", rng.choice(["h", *states]), rng.choice(["2", "0.5", "0.25"])]
        leaf = rng.choice(leaves)
        return rng.choice(seen or ["h"]) if leaf == "{}" else leaf.format(rng.randint(0, 2))

    def expression(depth: int) -> str:
        if depth == 0:
            return f"({atom()})"
        forms = "tanh({a}) sigmoid({a}) ({a}+{b}) ({a}*tanh({b})) ({a}-{b}) (-{a}) (U_{k}@({a})) (U_{k}@tanh({a})) (V_0@(V_1@({a})))"
        forms += " max({a},{b}) min({a},{b}) abs({a}) relu({a}) softplus({a}) exp(tanh({a})) log(1.5+{s}) sqrt(0.5+{s})"
        forms += " ({a}/(0.5+{s})) normalize({a}+W_9@x)"
        a, b = expression(depth - 1), expression(depth - 1)
        return rng.choice(forms.split()).format(a=a, b=b, s=f"sigmoid({expression(0)})", k=rng.randint(0, 1))

    lines = []
    for k in range(rng.randint(1, 4)):
        lines.append(f"q{k} = {expression(rng.randint(1, 2))}")
        seen.append(f"q{k}")
    total = " + ".join([*seen, *states])
    lines += [f"{name} = {rng.choice(['', f'0.5 * {name} + '])}tanh({expression(1)})" for name in states]
    return "\n".join([*lines, f"h = tanh({total} + W_0 @ x) * {rng.choice(['0.9', 'sigmoid(b_0)'])}"])


def difference(
    network: RecurrentClassifier,
    name: str,
    flags: tuple[str, ...] = ("-O2",),
    compiler: tuple[str, ...] = ("gcc",),
    emulator: tuple[str, ...] = (),
) -> tuple[float, float]:
    """Return the largest difference of the logits from float64 over 200 one-hot inputs: of C, and of the native pass."""
    x = torch.eye(INPUTS)[torch.randint(INPUTS, (200,), generator=torch.Generator().manual_seed(0))]
    with torch.no_grad():
        native = network(x.unsqueeze(0), every_step=True)[0].double()
        exact = network.double()(x.double().unsqueeze(0), every_step=True)[0]
        network.float()
    found = logits_of(compile_c(to_c(network), LOGITS, name, (*flags, *STRICT), compiler), x, emulator).double()
    return (found - exact).abs().max().item(), (native - exact).abs().max().item()


def logits_of(program: Path, x: Tensor, emulator: tuple[str, ...] = ()) -> Tensor:
    """Return the logits of a program after each step of x [T, INPUTS]."""
    output = subprocess.check_output([*emulator, program], input=x.numpy().tobytes())
    return torch.frombuffer(bytearray(output), dtype=torch.float32).view(len(x), -1)


def measure_differences(count: int = 500) -> dict[str, Any]:
    """Return the largest differences from float64 of built-in and random texts."""
    built_in = {cell: difference(network_of(cell, 16), "difference") for cell in CELLS}
    rng, rows = random.Random(0), []
    for number in range(count):
        cell = random_text(rng)
        while "W_" not in cell:
            cell = random_text(rng)
        flags = ("-O2",) if number % 2 else ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
        network = network_of(cell, 16, number)
        rows.append(difference(network, "difference", flags))
        if number % 10 == 0:
            compile_c(to_c(network), BOARD, "compiled", (*CORTEX, *STRICT, "-c"), ZIG)
    within = [(ours, native) for ours, native in rows if native <= 1e-5]
    result = {"built_in": {name: {"C": ours, "native": native} for name, (ours, native) in built_in.items()}}
    counted: dict[str, Any] = {
        "texts": count,
        "native_within_1e-5": len(within),
        "max": max(ours for ours, _ in within),
    }
    counted["at_most_2e-6"] = sum(ours <= 2e-6 for ours, _ in within)
    counted["native_at_most_2e-6"] = sum(native <= 2e-6 for _, native in within)
    return {**result, "random": {**counted, "beyond": [pair for pair in within if pair[0] > 2e-6]}}


def measure_emulated() -> dict[str, float]:
    """Return the largest difference from float64 in QEMU's emulation of other processors, of those that are installed."""
    targets = {"qemu-arm": ("thumb-linux-musleabihf", "-Oz"), "qemu-riscv64": ("riscv64-linux-musl", "-O2")}
    found = {}
    for emulator, (target, level) in targets.items():
        for cell in ("lstm", "gru", "slstm", "layer-norm") if shutil.which(emulator) else ():
            flags = ("-target", target, level, "-static")
            found[f"{emulator} {cell}"], _ = difference(network_of(cell, 16), "emulated", flags, ZIG, (emulator,))
    return found


def measure_stream(steps: int = 1_000_000) -> dict[str, Any]:
    """Return the largest difference of C from the whole sequence over a stream of a million steps of noise and sines."""
    t, rng = torch.arange(steps).unsqueeze(1), torch.Generator().manual_seed(0)
    x = torch.sin(t * torch.linspace(0.01, 0.5, INPUTS)) + 0.1 * torch.randn(steps, INPUTS, generator=rng)
    found: dict[str, Any] = {}
    for cell, pooling in (("lstm", "last"), ("gru", "last"), ("lstm", "mean")):
        torch.manual_seed(1)
        shape: Any = {"pooling": pooling}
        network = (
            LSTMClassifier(INPUTS, 16, C, **shape) if cell == "lstm" else RNNClassifier(cell, INPUTS, 16, C, **shape)
        )
        ours = logits_of(compile_c(to_c(network.eval()), LOGITS, "stream"), x)
        with torch.no_grad():
            h = network.double().recurrent(x.double().unsqueeze(0))[0][0]
            if pooling == "mean":
                h = h.cumsum(0) / torch.arange(1, steps + 1).unsqueeze(1)
            exact = network.output(h)
        differences = (ours - exact).abs().amax(1)
        last = differences[-1000:].max().item()
        found[f"{cell} {pooling}"] = {
            "finite": bool(ours.isfinite().all()),
            "max": differences.max().item(),
            "last_1000": last,
        }
    return {"steps": steps, **found}


def measure_int8(seeds: int = 5) -> list[Mapping[str, Any]]:
    """Return validation accuracies of trained runs in Python, and as the C file computes them with each format of the weights."""
    networks: dict[str, dict[str, Any]] = {
        "original": {},
        "16 units, length 7": {"length": 7, "hidden_size": 16, "epochs": 15},
    }
    rows: list[Mapping[str, Any]] = []
    for name, settings in networks.items():
        for seed in range(seeds):
            path = FOLDER / "runs" / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
            run = trained(train_lstm, path, seed=seed, **settings)
            data = run.task.validation(run.config.length)
            row = {"network": name, "seed": seed, "Python": score(run.network, data, run.task.target).accuracy}
            for weights in ("float", "fp16", "int8"):
                program = compile_c(to_c(run.network, weights=weights), LOGITS, "int8")  # type: ignore[arg-type]
                classes = torch.stack([logits_of(program, x)[-1].argmax() for x in data.encode()])
                row[weights] = (classes == data.targets).double().mean().item()
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    return rows


def main() -> dict[str, object]:
    """Run the benchmark, and return its results."""
    onnxruntime.set_default_logger_severity(3)
    result: dict[str, object] = {"title": "A trained network as C", "machine": machine()}
    result["compiler"] = subprocess.check_output(["gcc", "--version"], text=True).partition("\n")[0]
    result["nanoseconds_per_step"] = measure_speed()
    result["sizes"] = measure_sizes()
    result["differences"] = measure_differences()
    result["emulated"] = measure_emulated()
    result["stream"] = measure_stream()
    result["accuracy"] = measure_int8()
    return result
