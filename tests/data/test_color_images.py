"""Color images, from a folder of files to every output of the command line."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from reviver.cli import main
from reviver.data.images.image_set import load_images
from reviver.gan import inversion
from reviver.run import load
from reviver.show.report.results import GANResults

SIZE = 16


def write_shapes(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Write bright discs and squares at random positions on a dark background, each in the folder of its class."""
    for name, draw in (("disc", ImageDraw.ImageDraw.ellipse), ("square", ImageDraw.ImageDraw.rectangle)):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            image = Image.new("RGB", (SIZE, SIZE), tuple(rng.integers(0, 60, 3).tolist()))
            x, y = rng.integers(1, 7, 2).tolist()
            draw(ImageDraw.Draw(image), (x, y, x + 8, y + 8), fill=tuple(rng.integers(120, 256, 3).tolist()))
            image.save(folder / name / f"{index}.png")


def has_color(image: Image.Image) -> bool:
    return bool((np.ptp(np.asarray(image.convert("RGB")).astype(int), axis=2) > 20).any())


def test_every_command_keeps_the_colors(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*shlex.split(arguments), "--json", "--quiet"]) == 0
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    rng = np.random.default_rng(0)
    write_shapes(here / "shapes" / "train", 40, rng)
    write_shapes(here / "shapes" / "test", 12, rng)
    monkeypatch.setenv("REVIVER_CACHE", str(here / "cache"))
    monkeypatch.setitem(inversion.project.__kwdefaults__, "steps", 10)
    call(
        f"gan train --data shapes --image-size {SIZE} --epochs 2 --batch-size 16 --batch-norm-samples 9 --log-every 2 --out run"
    )
    trained = call(f"gan train-extractor --data shapes --image-size {SIZE} --epochs 1 --out shapes.safetensors")
    assert trained["test_accuracy"] * len(load_images("shapes", SIZE, "test")) % 1 == 0, "not rounded to float32"
    data = json.loads(Path("run/run.json").read_text())["data"]
    assert (data["image_shape"], data["num_images"]) == ([3, SIZE, SIZE], 80)
    for suffix in ("png", "npz"):
        assert call(f"gan sample run --num-samples 4 --out grid.{suffix}")["shape"] == [4, 3, SIZE, SIZE]
    projection = call("gan project run shapes/test/disc/0.png shapes/test/square/0.png --out projection.png")
    assert len(projection["errors"]) == len(projection["latents"]) == 2
    ends = "--from-image shapes/test/disc/0.png --to-image shapes/test/square/0.png"
    result = call(f"gan interpolate run {ends} --extractor shapes.safetensors --annotate --out interpolation.png")
    assert set(result["classes"]) <= {0, 1}
    scores = call("gan evaluate run --extractor shapes.safetensors --num-samples 20 --out nearest.png")
    assert scores["real_baseline"]["fid"] < scores["noise_baseline"]["fid"]
    assert (len(scores["samples"]["class_counts"]), sum(scores["samples"]["class_counts"])) == (2, 20)
    for name in ("run/samples/epoch-0002", "grid", "projection", "interpolation", "nearest"):
        assert has_color(Image.open(f"{name}.png"))
    with Image.open("run/samples/training.gif") as animation:
        animation.seek(2)
        assert has_color(animation)
    results = GANResults(load("run", "gan"))
    assert not results.run.is_digits, "the digit classifier knows no shapes"
    assert (results.interpolation.images.shape[1:], results.interpolation.classes) == ((3, SIZE, SIZE), None)
