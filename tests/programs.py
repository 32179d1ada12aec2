"""Exported code, compiled and run: several networks in one program, for the tests of Python and of the page."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from reviver.recurrent.classifier import RecurrentClassifier

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler: exported C is not compiled")
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic", "-ffreestanding")
READER = """
    if (which == {at}) {{
        static {name}_state state;
        static float x[{NAME}_INPUTS], y[{NAME}_OUTPUTS];
        {name}_init(&state);
        while (fread(x, sizeof x, 1, stdin) == 1) {{ {name}_step(&state, x, y); fwrite(y, sizeof y, 1, stdout); }}
    }}"""


def run_c(
    codes: Mapping[str, str], inputs: Mapping[str, np.ndarray], folder: Path, *flags: str
) -> dict[str, np.ndarray]:
    """Compile headers, whose names are their prefixes, into one program; return the logits after each step of their inputs."""
    for name, code in codes.items():
        (folder / f"{name}.h").write_text(code, encoding="utf-8")
    readers = "".join(READER.format(at=at, name=name, NAME=name.upper()) for at, name in enumerate(codes))
    includes = "".join(f'#include "{name}.h"\n' for name in codes)
    main = f"int main(int count, char **words) {{\n    const int which = count > 1 ? words[1][0] - 'A' : 0;{readers}\n"
    source, program = folder / "main.c", folder / "main"
    source.write_text(f"#include <stdio.h>\n{includes}{main}    return 0;\n}}\n", encoding="utf-8")
    command = [str(COMPILER), "-std=c99", *STRICT, *(flags or ("-O1",)), str(source), "-o", str(program)]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    found = {}
    for at, (name, x) in enumerate(inputs.items()):
        data = np.ascontiguousarray(x, np.float32).tobytes()
        ran = subprocess.run([program, chr(ord("A") + at)], input=data, capture_output=True, check=False)
        assert ran.returncode == 0, ran.stderr
        found[name] = np.frombuffer(ran.stdout, np.float32).reshape(len(x), -1)
    return found


@torch.no_grad()
def exact_logits(network: RecurrentClassifier, x: Tensor) -> np.ndarray:
    """Return the logits after each step of x [T, I] in float64: those of the sequences that end there."""
    network.double()
    found = torch.cat([network(x[None, : t + 1].double()) for t in range(len(x))]).numpy()
    network.float()
    return found
