"""A damaged file of every kind is one line on stderr with its name, exit code 2, and nothing is run or written."""

import gzip
import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from reviver.cli import main
from reviver.gan.scores.feature_extractor import weights_path
from tests.damage import Payload

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
X, Y = np.ones((4, 5)), np.array([0, 1, 0, 1])
IDX = struct.pack(">4I", 0x803, *IMAGES.shape) + IMAGES.tobytes()
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(was-run) (w) file closefile\n"
"""A file of a format that none of the readers knows; Pillow would start Ghostscript for it, which runs it."""


def content_of(save: Callable[[io.BytesIO], object]) -> bytes:
    """Return the content of a file that a function writes."""
    file = io.BytesIO()
    save(file)
    return file.getvalue()


CSV = b'sequence,label\n1 2,a\n3 4,b\n5 6,a\n"1 2 3 4",b\n'
TABLE = pa.table({"sequence": [[1.0, 2.0], [3.0]] * 4, "label": ["a", "b"] * 4})
GAN, LSTM = (
    "gan train --epochs 1 --batch-size 2 --eval-every 0 --out run --data ",
    "lstm train --task custom --epochs 1 --out run --data ",
)
FILES: dict[str, tuple[bytes, str]] = {
    "train-images-idx3-ubyte": (IDX, GAN + "."),
    "train-images-idx3-ubyte.gz": (gzip.compress(IDX), GAN + "."),
    "1.png": (content_of(lambda file: Image.fromarray(IMAGES[0]).save(file, "png")), GAN + "."),
    "1.jpg": (content_of(lambda file: Image.fromarray(IMAGES[0]).save(file, "jpeg")), GAN + "."),
    "images.npy": (content_of(lambda file: np.save(file, IMAGES)), GAN + "images.npy"),
    "images.npz": (content_of(lambda file: np.savez(file, images=IMAGES)), GAN + "images.npz"),
    "series.npz": (content_of(lambda file: np.savez(file, x=X, y=Y)), LSTM + "series.npz"),
    "series.csv": (CSV, LSTM + "series.csv"),
    "series.parquet": (content_of(lambda file: pq.write_table(TABLE, file)), LSTM + "series.parquet"),
    "extractor.safetensors": (weights_path().read_bytes(), GAN + "mnist-30k --extractor extractor.safetensors"),
    "settings.toml": (b'length = 4\nepochs = 1\ntask = "parity"\n', "lstm train --config settings.toml --out run"),
    "settings.json": (b'{"length": 4, "epochs": 1, "task": "parity"}\n', "lstm train --config settings.json --out run"),
    "sweep.toml": (b'command = "lstm train"\nmeasure = "accuracy"\n', "sweep sweep.toml --out run"),
}  # fmt: skip
"""Content of a file, and a command that reads it."""
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-9] if content.isascii() else content[: len(content) // 2],
    "empty": lambda content: b"",
    "wrong kind": lambda content: EPS,
    "pickle": lambda content: pickle.dumps(Payload()),
}
OBJECTS = np.array([Payload()] * 4)
CASES = [
    *((name, DAMAGE[damage](FILES[name][0])) for name in FILES for damage in DAMAGE if "toml empty" not in f"{name} {damage}"),
    ("images.npy", content_of(lambda file: np.save(file, OBJECTS))),
    ("images.npz", content_of(lambda file: np.savez(file, images=OBJECTS))),
    ("series.npz", content_of(lambda file: np.savez(file, x=OBJECTS, y=Y))),
]  # fmt: skip
"""Name and damaged content of a file; an empty TOML file is a valid one."""


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{name} {index}" for index, (name, _) in enumerate(CASES)])
def test_damage_is_one_line(case: int, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, content = CASES[case]
    Path(name).write_bytes(content)
    if name.startswith("1."):
        Image.fromarray(IMAGES[0]).save("0.png")
    before = sorted(here.iterdir())
    assert main(FILES[name][1].split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert name in line
    assert ";" in line, "it has a remedy"
    assert sorted(here.iterdir()) == before


def test_the_payload_works_where_pickles_are_allowed(here: Path) -> None:
    np.load(io.BytesIO(content_of(lambda file: np.save(file, OBJECTS[:1]))), allow_pickle=True)
    assert Path("was-run").exists()
