"""The GAN networks of the explorer's page against Python's: forward passes, gradients, projection, paths, view codes."""

import base64
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.errors import ConfigError
from reviver.explorer.blocks import Blocks, encode_f32
from reviver.explorer.gan import embed_classifier
from reviver.explorer.manifest import MlpSpec
from reviver.explorer.networks import FoldedLayer, embed, evaluate, fold
from reviver.gan.interpolation import interpolate, interpolate_at
from reviver.gan.inversion import LEARNING_RATE, PRIOR_WEIGHT, project
from reviver.gan.networks import NEGATIVE_SLOPE, Discriminator, Generator
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.gan.view import View, make_view, parse_view

WEB = Path(__file__).parents[2] / "web"
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (WEB / "node_modules" / "wabt").exists(),
    reason="no Node.js with the packages of web/: the networks of the page are not compared with Python's",
)

N = 5
FIRST_NORMALS = [0.5353395342826843, -0.3266402781009674, -0.5169864296913147, 0.01436341367661953]
"""Of seed 0, in single precision."""
TOLERANCE = 1e-5
"""Of images, probabilities, and relative to the largest, of logits and gradients."""


@dataclass(frozen=True)
class Case:
    """A GAN with untrained weights and the BatchNorm of a trained one. `classifier` is pinned, random or None."""

    image_shape: tuple[int, int, int] = (1, 28, 28)
    latent_size: int = 100
    num_classes: int = 0
    packing: int = 1
    classifier: str | None = "pinned"

    def networks(self) -> tuple[Generator, Discriminator, DigitClassifier | None]:
        generator = Generator(self.latent_size, self.image_shape, num_classes=self.num_classes)
        options: dict[str, Any] = {"packing": self.packing, "num_classes": self.num_classes, "dropout": 0.3}
        discriminator = Discriminator(self.image_shape, **options)
        discriminator(torch.randn(2 * self.packing, *self.image_shape), self.labels(2 * self.packing))
        classifier = DigitClassifier.pinned() if self.classifier == "pinned" else None
        if self.classifier == "random":
            classifier = DigitClassifier(7, self.image_shape)
            train_batch_norm(classifier)
        train_batch_norm(generator)
        with torch.no_grad():
            for layer in generator.layers:
                if isinstance(layer, nn.Linear):
                    layer.weight.mul_(1.5)  # images with contrast
        return generator.eval(), discriminator.eval(), classifier and classifier.eval()

    def labels(self, count: int) -> Tensor | None:
        if not self.num_classes:
            return None
        return functional.one_hot(torch.arange(count) % self.num_classes, self.num_classes).float()


CASES = {
    "MNIST": Case(),
    "conditional, color, packed": Case((3, 8, 8), 6, 3, 2, "random"),
    "odd sizes": Case((1, 9, 11), 7, packing=3, classifier="random"),
    "small": Case((2, 3, 1), 1, classifier=None),
}
SIMD = pytest.mark.parametrize("simd", [True, False], ids=["SIMD", "plain"])


@dataclass(frozen=True)
class Embedded:
    """Networks as the page gets them: the layers with their rounded weights, and the request for gan.mjs."""

    generator: list[FoldedLayer]
    discriminator: list[FoldedLayer]
    classifier: list[FoldedLayer] | None
    request: dict[str, Any]


def test_images_logits_probabilities_and_the_gradient_of_the_latents(embedded: Embedded, simd: bool) -> None:
    request, ours = embedded.request, compute_gan(embedded, simd=simd)
    z = tensor(request["latents"]).view(N, -1).requires_grad_()
    images = evaluate(embedded.generator, z, NEGATIVE_SLOPE)
    (gradient,) = torch.autograd.grad(images, z, tensor(request["gradOutputs"]).view_as(images))
    close(ours["gradient"], gradient, gradient.abs().max())
    images = images.detach()
    close(ours["images"], images)
    assert ours["images"][: images.shape[1]] == ours["single"], "an image depends on the batch"
    assert ours["images"] == ours["last"], "an image depends on its place in a large batch"
    packing, classes = request["content"]["packing"], request["classes"]
    parts = [images]
    if classes is not None:
        parts.append(functional.one_hot(torch.tensor(classes), request["content"]["numClasses"]).double())
        assert ours["classes"] == classes
    inputs = torch.cat(parts, 1)
    packed = torch.cat([inputs.roll(-k, 0) for k in range(packing)], 1)
    logits = evaluate(embedded.discriminator, packed, NEGATIVE_SLOPE)
    close(ours["logits"], logits, logits.abs().max())
    if embedded.classifier is None:
        assert ours["probabilities"] is None
    else:
        shaped = images.view(N, *request["content"]["imageShape"])
        close(ours["probabilities"], evaluate(embedded.classifier, shaped).softmax(1))


@SIMD
def test_a_projection_makes_the_steps_of_python(simd: bool) -> None:
    """From the best of the samples, with the same Adam, and with the class as it is."""
    case, steps, starts = CASES["conditional, color, packed"], 25, 3
    embedded = embed_case(case)
    target = evaluate(embedded.generator, tensor(embedded.request["latents"])[:9].view(1, -1) / 2, NEGATIVE_SLOPE)
    options = {"seed": 3, "samples": 21, "starts": starts, "steps": steps}
    ours = compute_gan(embedded, simd=simd, target=target.flatten().tolist(), options=options)["projection"]
    assert (ours["step"], ours["progress"]) == (steps, 1)
    candidates = tensor(ours["candidates"]).view(21, -1)
    assert (candidates[:, 6:] == torch.eye(3)[torch.arange(21) % 3]).all()

    def squared_errors(z: Tensor) -> Tensor:
        return (evaluate(embedded.generator, z, NEGATIVE_SLOPE) - target).square().mean(1)

    z = candidates[squared_errors(candidates).argsort()[:starts]].requires_grad_()
    fixed = z.detach()[:, 6:].clone()
    optimizer = torch.optim.Adam([z], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    curves = [squared_errors(z).detach().sqrt()]
    for _ in range(steps):
        loss = (squared_errors(z) + PRIOR_WEIGHT * z.square().mean(1)).sum()
        (z.grad,) = torch.autograd.grad(loss, [z])
        z.grad[:, 6:] = 0
        optimizer.step()
        schedule.step()
        curves.append(squared_errors(z).detach().sqrt())
    errors = torch.stack(curves, 1)
    assert (z[:, 6:] == fixed).all()
    torch.testing.assert_close(tensor(ours["latents"]).view_as(z), z.detach(), atol=1e-3, rtol=0)
    torch.testing.assert_close(tensor(ours["errors"]), errors, atol=1e-4, rtol=0)
    best = int(errors[:, -1].argmin())
    assert ours["result"]["error"] == pytest.approx(float(errors[best, -1]), abs=1e-4)
    close(ours["result"]["latent"], z[best].detach(), 100)


def test_a_projection_of_one_class() -> None:
    embedded = embed_case(CASES["conditional, color, packed"])
    request = embedded.request | {"target": [0.0] * 192, "options": {"samples": 10, "steps": 2, "class": 1}}
    ours, again = (gan["projection"] for gan in compute({"gans": 2 * [request | {"simd": False}]})["gans"])
    assert (tensor(ours["latents"]).view(4, -1)[:, 6:] == torch.tensor([0, 1, 0])).all()
    assert again == ours


def test_a_projection_is_as_good_as_that_of_python() -> None:
    generator, *_ = CASES["MNIST"].networks()
    embedded = embed_case(CASES["MNIST"])
    with torch.no_grad():
        target = generator(torch.randn(1, 100))
    python = project(generator, target)
    ours = compute_gan(embedded, simd=True, target=target.flatten().tolist(), options={})["projection"]["result"]
    assert ours["error"] <= 1.2 * float(python.errors) + 0.02


def test_paths_are_those_of_python() -> None:
    a, b = torch.randn(2, 30)
    opposite, zero = -2 * a, torch.zeros(30)
    pairs = [(a, b), (a, a), (a, 3 * a), (a, opposite), (a, zero), (zero, zero), (a, a + 1e-8)]
    requests: list[dict[str, Any]] = []
    expected: list[Tensor | None] = []
    for start, end in pairs:
        for path in ("linear", "spherical"):
            for steps in (0, 1, 7, 48):
                requests.append(path_request(start, end, path, steps=steps))
                try:
                    expected.append(interpolate(start, end, steps, path))
                except ConfigError:
                    expected.append(None)
    t = torch.tensor([0.0, 0.123, 1.0], dtype=torch.float64)
    requests.append(path_request(a, b, "spherical", t=t.tolist()))
    expected.append(interpolate_at(a, b, t, "spherical"))
    ours = compute({"paths": requests})["paths"]
    assert sum(points is None for points in expected) == 4
    for request, points, theirs in zip(requests, ours, expected, strict=True):
        if theirs is None:
            assert points is None, request
        else:
            torch.testing.assert_close(tensor(points).view_as(theirs).float(), theirs, atol=1e-7, rtol=1e-6)


def test_half_precision_is_numpys() -> None:
    special = [0.0, 1.0, 65504, 65519.996, 65520, 1e6, 2**-14, 2**-24, 2**-25, 1.5 * 2**-25, 2**-15, 2047.5, 2048.5]
    numbers = np.array([*special, *(-x for x in special), *np.random.default_rng(0).normal(size=200)], dtype=np.float32)
    with np.errstate(over="ignore"):
        expected = numbers.astype(np.float16).astype(np.float32)
    requests = ["-0" if x == 0 and np.signbit(x) else float(x) for x in numbers]
    ours = np.array([float(text) for text in compute({"halves": requests})["halves"]], dtype=np.float32)
    assert (ours == expected).all()
    assert (np.signbit(ours) == np.signbit(expected)).all()


def damaged_codes() -> list[str]:
    """Return codes that neither the page nor Python may take, of latent size 13."""
    start, end = np.random.default_rng(0).normal(size=(2, 13)).astype(np.float16)
    good = encode(start, end)
    infinite = start.copy()
    infinite[3] = np.inf
    return [
        *(good[:k] + ("A" if good[k] != "A" else "B") + good[k + 1 :] for k in range(len(good))),
        *(good[:k] for k in range(len(good))),
        good + "A",
        good + "=",
        " " + good,
        "<script>",
        "ä" * len(good),
        encode(start, end, version=2),
        encode(start, end, path=2),
        encode(start, end, steps=49),
        encode(start, end, zero=1),
        encode(start, end, size=12),
        encode(infinite, end),
        encode(start[1:], end[1:]),
    ]


def test_view_codes_are_those_of_python() -> None:
    start, end = torch.randn(2, 100).half().float()
    views = [View(start, end, path, steps) for path in ("linear", "spherical") for steps in (0, 9, 48)]
    codes = [make_view(view) for view in views]
    requests = [
        {"path": view.path, "steps": view.steps, "start": start.tolist(), "end": end.tolist()} for view in views
    ]
    damaged = damaged_codes()
    sizes = [*((code, 100) for code in codes), *((code, 13) for code in damaged)]
    ours = compute({"views": requests, "codes": [{"code": code, "size": size} for code, size in sizes]})
    assert (ours["views"], ours["codes"]) == (codes, requests + [None] * len(damaged))
    for code in damaged:
        with pytest.raises(ConfigError):
            parse_view(code, 13)


def test_normal_numbers() -> None:
    """They are those of every browser, so the first are written here."""
    seeds = [{"seed": seed, "count": 20_000} for seed in (0, 0, 2**32 - 1)]
    first, same, other = (tensor(x) for x in compute({"normals": seeds})["normals"])
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert float(first.mean()) == pytest.approx(0, abs=0.03)
    assert float(first.std()) == pytest.approx(1, abs=0.03)
    assert float(first.abs().max()) < 6
    assert float((first.abs() > 2).double().mean()) == pytest.approx(0.0455, abs=0.01)
    assert first[:4].tolist() == FIRST_NORMALS


def test_the_kernel_is_plain_where_there_is_no_simd() -> None:
    cases: list[tuple[Any, str, Any]] = [
        ("auto", "kernel", True),
        (True, "kernel", True),
        (False, "kernel", False),
        ("auto", "damaged", False),
        ("auto", "none", False),
        (True, "damaged", "this browser has no WebAssembly with SIMD"),
    ]
    ours = compute({"kernels": [{"simd": simd, "bytes": code} for simd, code, _ in cases]})["kernels"]
    assert ours == [expected for *_, expected in cases]


@pytest.fixture(params=list(CASES.values()), ids=list(CASES), scope="module")
def embedded(request: pytest.FixtureRequest) -> Embedded:
    torch.manual_seed(0)
    return embed_case(request.param)


@pytest.fixture(params=[True, False], ids=["SIMD", "plain"])
def simd(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def train_batch_norm(network: nn.Module) -> None:
    """Give BatchNorm the statistics and weights of a trained network."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.05, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)


def embed_case(case: Case) -> Embedded:
    torch.manual_seed(0)
    generator, discriminator, classifier = case.networks()
    blocks = Blocks()
    g_weights, g_specs, g_layers = embed(blocks, "generator", fold(list(generator.layers)))
    d_weights, d_specs, d_layers = embed(blocks, "discriminator", fold(list(discriminator.layers)))
    c_spec, c_layers = None, None
    if classifier is not None:
        names = [str(index) for index in range(classifier.head.out_features)]
        spec, c_layers = embed_classifier(classifier, names, blocks, "classifier")
        c_spec = dump(spec)
    rng = torch.Generator().manual_seed(1)
    classes = torch.arange(N) % case.num_classes if case.num_classes else None
    z = generator.sample_latents(N, rng, classes)
    content = {
        "imageShape": case.image_shape,
        "noiseSize": generator.noise_size,
        "latentSize": generator.latent_size,
        "numClasses": case.num_classes,
        "packing": case.packing,
        "generator": dump(MlpSpec(weights=g_weights, layers=g_specs, negative_slope=NEGATIVE_SLOPE)),
        "discriminator": dump(MlpSpec(weights=d_weights, layers=d_specs, negative_slope=NEGATIVE_SLOPE)),
        "classifier": c_spec,
        "latents": dump(blocks.add_tensors("latents", {"grid": encode_f32(z)})),
    }
    request = {
        "content": content,
        "blocks": blocks.texts,
        "latents": z.flatten().tolist(),
        "classes": None if classes is None else classes.tolist(),
        "gradOutputs": torch.randn(N * int(np.prod(case.image_shape)), generator=rng).tolist(),
        "target": None,
        "options": {},
    }
    return Embedded(g_layers, d_layers, c_layers, request)


def dump(part: Any) -> Any:
    return part.model_dump(mode="json", by_alias=True)


def compute(request: Mapping[str, Any]) -> Any:
    """Return the results of gan.mjs."""
    node = subprocess.run(
        ["node", str(WEB / "tests" / "gan.mjs"), "/dev/stdin"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    assert node.returncode == 0, node.stderr
    return json.loads(node.stdout)


def compute_gan(embedded: Embedded, **changes: Any) -> Any:
    return compute({"gans": [embedded.request | changes]})["gans"][0]


def path_request(
    start: Tensor, end: Tensor, path: str, *, steps: int | None = None, t: Sequence[float] = ()
) -> dict[str, Any]:
    return {"start": start.tolist(), "end": end.tolist(), "path": path, "steps": steps, "t": list(t)}


def encode(
    start: Any, end: Any, *, version: int = 1, path: int = 1, steps: int = 7, zero: int = 0, size: int | None = None
) -> str:
    """Return the view code of two ends, by its definition."""
    data = struct.pack("<BBBBH", version, path, steps, zero, len(start) if size is None else size)
    data += start.astype("<f2").tobytes() + end.astype("<f2").tobytes()
    data += struct.pack("<I", zlib.crc32(data))
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(ours: Sequence[float], expected: Tensor, scale: Tensor | float = 1.0) -> None:
    """Compare with TOLERANCE times `scale`."""
    difference = (tensor(ours).view_as(expected) - expected).abs().max()
    assert float(difference) <= TOLERANCE * float(scale)
