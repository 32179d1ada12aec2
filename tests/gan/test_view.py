"""View codes of the explorer: round trip, damaged codes, and `reviver gan interpolate --view`."""

import base64
import itertools
import json
import struct
import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reviver.cli import main
from reviver.errors import ConfigError
from reviver.gan.interpolation import MAX_STEPS, PATHS
from reviver.gan.view import View, make_view, parse_view


def encode(data: bytes) -> str:
    """Return the code of some content, with a correct checksum."""
    return base64.urlsafe_b64encode(data + struct.pack("<I", zlib.crc32(data))).decode().rstrip("=")


def content(start: Tensor, end: Tensor, **changes: int) -> bytes:
    header = {"version": 1, "path": 0, "steps": 7, "zero": 0, "size": len(start)} | changes
    return struct.pack("<BBBBH", *header.values()) + torch.cat([start, end]).half().numpy().tobytes()


def test_format_rounding_and_round_trip() -> None:
    """The bytes that the explorer writes: see gan/view.py."""
    start, end = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.0])
    code = make_view(View(start, end, "spherical", 9))
    assert code == encode(bytes([1, 1, 9, 0, 2, 0]) + bytes.fromhex("0038 00bc 0040 0000"))
    z = torch.randn(100)
    for path, steps in itertools.product(PATHS, (0, 7, MAX_STEPS)):
        code = make_view(View(z, -z, path, steps))
        assert (len(code), "=" in code) == (547, False)
        found = parse_view(code, 100)
        assert torch.equal(found.start, z.half().float())
        assert torch.equal(found.end, -z.half().float())
        assert (found.path, found.steps) == (path, steps)
    with pytest.raises(ConfigError, match="view must have finite latents in half precision"):
        make_view(View(z * 1e6, z, "linear", 7))


@given(st.data(), st.text(min_size=1))
def test_any_text_and_any_changed_character_give_an_error(data: st.DataObject, text: str) -> None:
    code = make_view(View(torch.arange(4.0), torch.ones(4), "linear", 7))
    index = data.draw(st.integers(0, len(code) - 2))  # the last one has bits that stand for nothing
    other = data.draw(st.sampled_from("Aa0_-").filter(lambda letter: letter != code[index]))
    with pytest.raises(ConfigError, match=r"^view is damaged; copy it again from the explorer$"):
        parse_view(code[:index] + other + code[index + 1 :], 4)
    with pytest.raises(ConfigError, match=r"^view "):
        parse_view(text, 4)


Z = torch.linspace(-1, 1, 4)
WRONG = {
    "characters": ("AQAHAA==", "must have only letters, digits, - and _, got '='; copy it again from the explorer"),
    "length of base64": ("AQAHA", "is damaged; copy it again from the explorer"),
    "cut": (encode(content(Z, Z))[:-4], "is damaged"),
    "only a header": (encode(b"\1\0\7\0"), "is damaged"),
    "more latents": (encode(content(Z, torch.cat([Z, Z]))), "is damaged"),
    "unknown path": (encode(content(Z, Z, path=2)), "is damaged"),
    "too many steps": (encode(content(Z, Z, steps=49)), "is damaged"),
    "reserved byte": (encode(content(Z, Z, zero=1)), "is damaged"),
    "newer": (encode(content(Z, Z, version=2)), "is of version 2, this Reviver reads version 1; use the Reviver"),
    "other generator": (encode(content(Z[:3], Z[:3])), "is of a generator with Z = 3, this run has 4; give the run"),
    "not finite": (encode(content(Z, Z / 0)), "has numbers that are not finite; copy it again"),
    "NaN": (encode(content(Z * torch.nan, Z)), "has numbers that are not finite; copy it again"),
}


def test_wrong_codes() -> None:
    for name, (code, problem) in WRONG.items():
        with pytest.raises(ConfigError, match=f"^view .*{problem}") as caught:
            parse_view(code, 4)
        assert caught.value.field == "view", name


# The command

VIEW = View(*torch.linspace(-1, 2, 16).half().float().view(2, 8), "spherical", 5)


def test_the_command_draws_the_view(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(view: View, *arguments: str) -> bytes:
        command = f"gan interpolate {small_run / 'run'} --view {make_view(view)} --out {tmp_path / 'strip.svg'}"
        assert main([*command.split(), *arguments]) == 0
        return (tmp_path / "strip.svg").read_bytes()

    first = call(VIEW, "--json")
    assert json.loads(capsys.readouterr().out)["path"] == "spherical"
    assert first == call(VIEW)
    for change in ({"path": "linear"}, {"steps": 4}, {"start": VIEW.end}, {"end": VIEW.start}):
        assert first != call(VIEW._replace(**change))


def test_options_that_the_code_replaces(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ["--from 1", "--to 1", "--from-image a", "--to-image a", "--steps 7", "--path linear", "--seed 0"]:
        assert main(["gan", "interpolate", "nothing", "--view", make_view(VIEW), *option.split()]) == 2
        name = option.split()[0]
        problem = "must be left out, since view sets the ends, steps and path"
        assert capsys.readouterr().err == f"error: {name} {problem}\n"
