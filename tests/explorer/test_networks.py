"""The GAN networks of the explorer's page against Python's: forward passes, gradients, projection, paths, view codes."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.gan.interpolation import interpolate, interpolate_at
from reviver.gan.inversion import LEARNING_RATE, PRIOR_WEIGHT
from reviver.rng import make_rng
from tests.explorer.edits import read_layers, read_page, read_tensors
from tests.explorer.node import compute, needs_node

pytestmark = needs_node

N = 5
BITS = [
    "0x1.c8f87724b5c1dp-3",
    "0x1.7dde7271f0f22p+0",
    "-0x1.cf6f9786df577p-1",
    "0x1.84fae8ec0d175p-2",
]
"""Of exp and tanh of -1.5 and 0.3999."""
TOLERANCE = 1e-5
"""Of images, probabilities, and relative to the largest, of logits and gradients."""


def embedded(page: Path, index: int) -> tuple[dict[str, nn.Sequential], dict[str, Any]]:
    """Return the networks of a GAN in a page, and the request for web/tests/gan.ts."""
    content = read_page(page.read_text(encoding="utf-8"))
    gan = content.manifest["gans"][index]
    names = [name for name in ("generator", "discriminator", "classifier") if gan[name]]
    latents = read_tensors(content.blocks, gan["latents"])["grid"][:N]
    request = {
        "content": gan,
        "blocks": content.texts,
        "latents": latents.flatten().tolist(),
        "classes": latents[:, gan["noiseSize"] :].argmax(1).tolist() if gan["numClasses"] else None,
        "gradOutputs": torch.randn(N * math.prod(gan["imageShape"])).tolist(),
        "target": None,
        "options": {},
    }
    return {name: read_layers(content, gan[name]) for name in names}, request


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(ours: Sequence[float], expected: Tensor, scale: Tensor | float = 1.0) -> None:
    """Compare with TOLERANCE times `scale`."""
    difference = (tensor(ours).view_as(expected) - expected).abs().max()
    assert float(difference) <= TOLERANCE * float(scale)


@pytest.mark.parametrize("index", [None, 1, 2], ids=["MNIST", "conditional", "color"])
def test_images_logits_probabilities_and_the_gradient_of_the_latents(
    index: int | None, explorer_page: Path, small_page: Path
) -> None:
    networks, request = embedded(explorer_page, 0) if index is None else embedded(small_page, index)
    z = tensor(request["latents"]).view(N, -1).requires_grad_()
    images = networks["generator"](z)
    (gradient,) = torch.autograd.grad(images, z, tensor(request["gradOutputs"]).view_as(images))
    inputs = images = images.detach()
    if request["classes"] is not None:
        inputs = torch.cat([images, functional.one_hot(torch.tensor(request["classes"]))], 1)
    logits = networks["discriminator"](inputs)
    (ours,) = compute("gan", {"gans": [request]})["gans"]
    close(ours["gradient"], gradient, gradient.abs().max())
    close(ours["images"], images)
    assert ours["images"][: images.shape[1]] == ours["single"], "an image depends on the batch"
    assert ours["images"] == ours["last"], "an image depends on its place in a large batch"
    assert ours["classes"] == request["classes"]
    if index is None:  # a seed chooses the image of `reviver gan sample`
        assert ours["sampled"] == torch.randn(100, generator=make_rng(17, "samples")).tolist()
    close(ours["logits"], logits, logits.abs().max())
    if "classifier" in networks:
        shaped = images.view(N, *request["content"]["imageShape"])
        close(ours["probabilities"], networks["classifier"](shaped).softmax(1))


def test_a_projection_makes_the_steps_of_python(small_page: Path) -> None:
    """From the best of the samples, with the same Adam, and with the class as it is."""
    steps, starts = 25, 3
    networks, request = embedded(small_page, 1)
    size, noise = request["content"]["latentSize"], request["content"]["noiseSize"]
    target = networks["generator"](tensor(request["latents"])[:size].view(1, -1) / 2)
    request |= {"target": target.flatten().tolist()}
    options = [{"seed": 3, "samples": 21, "starts": starts, "steps": steps}, {"samples": 10, "steps": 2, "class": 1}]
    ours, of_class = (
        gan["projection"]
        for gan in compute("gan", {"gans": [request | {"options": option} for option in options]})["gans"]
    )
    assert (tensor(of_class["latents"]).view(4, -1)[:, noise:] == torch.tensor([0, 1, 0])).all()
    candidates = tensor(ours["candidates"]).view(21, -1)
    assert (candidates[:, noise:] == torch.eye(3)[torch.arange(21) % 3]).all()

    def squared_errors(z: Tensor) -> Tensor:
        return (networks["generator"](z) - target).square().mean(1)

    z = candidates[squared_errors(candidates).argsort()[:starts]].requires_grad_()
    optimizer = torch.optim.Adam([z], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    curves = [squared_errors(z).detach().sqrt()]
    for _ in range(steps):
        loss = (squared_errors(z) + PRIOR_WEIGHT * z.square().mean(1)).sum()
        (z.grad,) = torch.autograd.grad(loss, [z])
        z.grad[:, noise:] = 0
        optimizer.step()
        schedule.step()
        curves.append(squared_errors(z).detach().sqrt())
    errors = torch.stack(curves, 1)
    torch.testing.assert_close(tensor(ours["latents"]).view_as(z), z.detach(), atol=1e-3, rtol=0)
    torch.testing.assert_close(tensor(ours["errors"]), errors, atol=1e-4, rtol=0)
    best = int(errors[:, -1].argmin())
    assert ours["result"]["error"] == pytest.approx(float(errors[best, -1]), abs=1e-4)
    close(ours["result"]["latent"], z[best].detach(), 100)


def test_paths_are_those_of_python() -> None:
    a, b = torch.randn(2, 30)
    zero = torch.zeros(30)
    requests: list[dict[str, Any]] = []
    expected: list[Tensor] = []
    for start, end in [(a, b), (a, a), (a, 3 * a), (a, zero), (zero, zero), (a, a + 1e-8)]:
        for path, steps in (("linear", 1), ("linear", 48), ("spherical", 0), ("spherical", 7)):
            requests.append({"start": start.tolist(), "end": end.tolist(), "path": path, "steps": steps, "t": []})
            expected.append(interpolate(start, end, steps, path))
    t = torch.tensor([0.0, 0.123, 1.0], dtype=torch.float64)
    requests.append({"start": a.tolist(), "end": b.tolist(), "path": "spherical", "steps": None, "t": t.tolist()})
    expected.append(interpolate_at(a, b, t, "spherical"))
    opposite = {"start": a.tolist(), "end": (-2 * a).tolist(), "path": "spherical", "steps": 7, "t": []}
    *found, none = compute("gan", {"paths": [*requests, opposite]})["paths"]
    assert none is None  # there is no single shortest way
    for points, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(tensor(points).view_as(theirs).float(), theirs, atol=1e-7, rtol=1e-6)


def test_own_functions_are_precise_and_have_the_bits_of_every_engine() -> None:
    """Of the first numbers the bits are written here: no engine may give others."""
    x = [0.0, -1.5, 1e-9, 0.3999, 0.6, 21.5, -745.0, 709.0, *torch.linspace(-40, 40, 999, dtype=torch.float64).tolist()]
    found = compute("gan", {"functions": x})
    exact = {
        "exp": [math.exp(v) for v in x],
        "tanh": [math.tanh(v) for v in x],
        "log": [math.log(abs(v) or 1) for v in x],
    }
    for name, values in exact.items():
        assert found["functions"][name][1:] == pytest.approx(values[1:], rel=1e-14, abs=1e-300), name
    rounded = torch.tensor(x, dtype=torch.float32).double()
    assert found["kernelTanh"] == pytest.approx(rounded.tanh().tolist(), rel=3e-7, abs=1e-38)
    assert [found["functions"][name][k].hex() for name in ("exp", "tanh") for k in (1, 3)] == BITS
