"""The distributions: a platform wheel trains without a compiler, a source distribution compiles at first use."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from reviver import __version__
from tools import wheel

pytestmark = [
    pytest.mark.skipif(
        wheel.platform.machine() != "x86_64" or sys.platform != "linux" or wheel.find_compiler("x86_64") is None,
        reason="builds wheels for Linux on x86-64 with a C++ compiler",
    ),
    pytest.mark.timeout(1200),
]

PLATFORM = f"reviver_nn-{__version__}-py3-none-manylinux_2_17_x86_64.whl"
PURE = f"reviver_nn-{__version__}-py3-none-any.whl"
SDIST = f"reviver_nn-{__version__}.tar.gz"

TRAIN = """
import json, sys
from pathlib import Path
import torch
import reviver
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.training import train as train_lstm

torch.set_num_threads(2)
out = Path(sys.argv[1])
config = LSTMConfig(length=20, encoding="onehot", hidden_size=128, epochs=1, data_size=400, batch_size=100)
run = train_lstm(config, out / "lstm", device="cpu")
maps = Path("/proc/self/maps").read_text().splitlines()
print(json.dumps({
    "package": reviver.__file__,
    "native": run.record["hardware"]["native"],
    "mapped": sorted({line.split(maxsplit=5)[5] for line in maps if line.count("/")}),
}))
"""

COMPARE = """
import json
import torch
from reviver import LSTM
from reviver.recurrent.kernel import reference
from reviver.recurrent.kernel.library import KERNEL
from reviver.recurrent.kernel import prebuilt

def run(lstm, x, seed=3):
    lstm.zero_grad()
    output, state = lstm(x, rng=torch.Generator().manual_seed(seed))
    ((output * torch.linspace(-1, 1, output.numel()).view(output.shape)).sum() + state[1].square().sum()).backward()
    return [output.detach(), *(parameter.grad.clone() for parameter in lstm.parameters())]

torch.manual_seed(0)
torch.set_num_threads(2)
lstm, x = LSTM(10, 70, bidirectional=True, hidden_dropout=0.5), torch.randn(30, 33, 10)
with reference():
    expected = run(lstm, x)
errors = {}
for name, variant in prebuilt.VARIANTS.items():
    if variant.machine == "x86_64" and variant.features & ~prebuilt.cpu_features() == 0:
        KERNEL.library = KERNEL.load_prebuilt(name)
        assert KERNEL.variant == f"prebuilt {name}"
        pairs = zip(run(lstm, x), expected, strict=True)
        errors[name] = max(((ours - theirs).abs().max() / theirs.abs().max()).item() for ours, theirs in pairs)
print(json.dumps(errors))
"""

OPENMP = re.compile(r"/lib(?:gomp|iomp5|omp)\b[^/]*$", re.MULTILINE)
"""Runtimes of OpenMP among the files of a process, which needs one."""
Environment = Callable[[str], Path]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the distributions for this machine."""
    folder = tmp_path_factory.mktemp("dist")
    names = [path.name for path in wheel.build(folder, ["x86_64"])]
    assert names == [SDIST, PURE, PLATFORM]
    return folder


@pytest.fixture(scope="module")
def environment(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return a function that makes a fresh environment with a distribution, and the dependencies of this one."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder)
        site = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
        # Editable installs in a folder that is added this way are ignored.
        (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
        options = ["--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed"]
        subprocess.run([*pip, *options, str(dist / name)], check=True)
        return folder

    return make


def python(folder: Path, script: str, *arguments: str, path: str = "", flags: str = "") -> str:
    """Return what a script prints in an environment whose only programs are its own and those in `path`."""
    settings = {"PATH": f"{folder / 'bin'}{os.pathsep}{path}", "HOME": str(folder), "OMP_DYNAMIC": "false"}
    settings["REVIVER_CXXFLAGS"] = flags
    settings["OMP_WAIT_POLICY"] = "passive"  # threads that wait leave the cores to other tests
    command = [str(folder / "bin" / "python"), "-W", "error", "-c", script, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=settings, cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def expected_variant() -> str:
    """Return the variant for this processor, from what the kernel of the system reports of it."""
    flags = set(re.findall(r"^flags\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[0].split())
    if not {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"} <= flags:
        return "x86-64"
    if not {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags:
        return "x86-64-v3"
    return "x86-64-v4+bf16" if "avx512_bf16" in flags else "x86-64-v4"


@pytest.mark.long
def test_platform_wheel_trains_without_a_compiler(environment: Environment) -> None:
    folder = environment(PLATFORM)
    result = json.loads(python(folder, TRAIN, str(folder)))
    assert Path(result["package"]).is_relative_to(folder)
    assert result["native"] == f"prebuilt {expected_variant()}"
    assert len(OPENMP.findall("\n".join(result["mapped"]))) == 1
    loaded = [Path(path).name for path in result["mapped"] if "/prebuilt/" in path]
    assert [name.split("-")[0] for name in loaded] == ["cell", "cpu"]
    assert not (folder / ".cache").exists()

    errors = json.loads(python(folder, COMPARE))
    assert errors.keys() >= {expected_variant(), "x86-64"}
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.long
def test_source_distribution_compiles_at_first_use(environment: Environment) -> None:
    folder = environment(SDIST)
    result = json.loads(python(folder, TRAIN, str(folder), path=os.environ["PATH"], flags="-O1"))
    assert Path(result["package"]).is_relative_to(folder)
    assert re.match(r"compiled -m(arch|cpu)=native -O1 by c\+\+ \d", result["native"])
    compiled = [path for path in result["mapped"] if path.startswith(str(folder / ".cache" / "reviver"))]
    assert len(compiled) == 1


# What the distributions contain


@pytest.mark.long
def test_the_same_sources_give_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    wheel.stage(tmp_path / "sources")
    (tmp_path / "out").mkdir()
    sdist = wheel.rewrite_sdist(wheel.build_with_setuptools("sdist", tmp_path), tmp_path / "out")
    assert sdist.read_bytes() == (dist / SDIST).read_bytes()
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "src/reviver/recurrent/kernel/cell.cpp", "src/reviver/recurrent/kernel/call.h"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]
    pure = wheel.read_wheel(wheel.build_with_setuptools("wheel", tmp_path))
    assert wheel.write_wheel(pure, tmp_path / "out" / PURE).read_bytes() == (dist / PURE).read_bytes()
