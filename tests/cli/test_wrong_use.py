"""Wrong use and failures: one line on stderr, an exit code, and nothing written."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reviver.cli.app import COMMANDS
from reviver.runs.folder import RunFolder
from tests.cli.tiny import TINY_GAN, TINY_LSTM, Run

WRONG = {
    # commands
    "foo": "^command 'foo' is unknown; choose from lstm, gan, data, report",
    "repot": r"^command 'repot' is unknown; did you mean report\?",
    "lstm": "^reviver lstm requires a command; choose from train, evaluate, predict, curve, trace",
    # options
    "--bogus": "^--bogus is unknown; see reviver --help",
    "lstm train --lenght 3": r"^--lenght is unknown; did you mean --length\?",
    "lstm train --lr 3": r"^--lr is unknown; did you mean --learning-rate\?",
    "lstm predict '1 2' l": "^RUN must come before DIGITS: give l '1 2'$",
    "lstm train --epochs": "^--epochs requires a value; see reviver lstm train --help",
    "lstm curve --network gru --out n": "^--network must be lstm-onehot-curriculum, .* or rnn-scalar-no-dropout, got 'gru'",
    "lstm evaluate gone --out figure.gif": "^--out must end in one of .pdf, .svg, .png for a figure, got figure.gif",
    "lstm predict l 1 2": "^'2' is an unexpected argument .quote text that contains spaces.; see reviver lstm predict --help",
    # presets and fields
    "lstm train --preset foo": "^--preset 'foo' is unknown; choose from original, onehot",
    "lstm train --length 1": "^--length must be at least 2, got 1",
    "lstm train --length 99999999999999999999": "^--length must be at most 10000000, got 99999999999999999999",
    # export
    "export l": "^--format is missing; see reviver export --help",
    "export l --format pickle": "^--format must be onnx or hub, got 'pickle'",
    "export l --format hub --opset 13": "^--opset is only for the format onnx; leave it out",
    "export g --format onnx --checkpoint best": "^--checkpoint must be last, got 'best'",
    "export l --format hub --out report": "^report: exists already and is never overwritten; choose another --out",
    "export l --format onnx --opset 999": "the last that the installed onnx [0-9.]+ knows, got 999",
    "export l --format onnx --out g": "^g: cannot be written .Is a directory",
    # figures of a run
    "plot l --figure-width 1": "^--figure-width must be at least 2, got 1.0",
    # packed data
    "data pack tiny.npz --out empty": "^empty: exists already and is never overwritten; choose another --out",
    "data pack gone.csv --out empty": "^empty: exists already and is never overwritten; choose another --out",
    "data pack tiny.npz --image-size 2 --out p": "^--image-size must be at least 4, got 2",
    "data pack tiny.npz --label-column y --out p": "^--label-column is only for sequences, and tiny.npz holds images",
    # the explorer
    "explore l missing": "^missing: does not exist; give the folder that a train command wrote",
    "explore l --out .": "cannot be written .Is a directory",
    "explore l --out l/run.json": "^--out must end in .html, got l/run.json",
    # assignments
    "check notes.txt --points p.toml": "^--points is only for a table of grades; give its --out",
    # sweeps
    "sweep sweep.toml --address 127.0.0.1:6379": "^--address is only for --engine ray; leave it out",
    "lstm curve --out report": "^report: exists and is not the folder of a curve; choose another --out",
    "sweep sweep.toml --out l": "^l: exists and is not the folder of a sweep; choose another --out",
    # settings files; more of them in tests/files/test_hostile.py
    "lstm train --config ''": "^--config must not be empty",
    "lstm train --config=unknown.toml": r"^unknown.toml: lenght is unknown; did you mean length\?",
    "lstm train --config=~/none.toml": f"^--config {Path.home()}/none.toml cannot be read",
    "lstm train --config code.yaml": "^--config must be a .toml or .json file, got 'code.yaml'",
    "lstm train --length 3 --length 4": "^--length may be given only once",
    "lstm train --length 0x10": "^--length must be an integer, got '0x10'",
    "lstm train --curriculum=perhaps": "^--curriculum must be true or false, got 'perhaps'",
    # data
    "gan train --data nothing --out n": "^--data nothing does not exist; give mnist, fashion-mnist, .*, an image folder, an .npz",
    "gan train --data notes.txt --out n": "^--data notes.txt is of an unknown kind; give mnist, .*, an IDX folder",
    "gan train --data empty --out n": r"^--data empty holds no IDX files and no images; put some into it \(\.png",
    "lstm predict l '1 x 2'": "^digits must be digits such as \"1 2 3 2\", got 'x' in '1 x 2'",
    "lstm predict l 12,34": "^digits must be digits such as \"1 2 3 2\", got '12' in '12,34'",
    "lstm predict l ' '": "^digits must be digits such as \"1 2 3 2\", got nothing in ' '",
    # devices
    "lstm train --device cuda --out n": "^--device 'cuda' is not available on this machine; use --device auto or --device cpu",
    **{
        f"{command} --device cuda": "^--device must be auto or cpu, got 'cuda'"
        for command in ("lstm curve --out n", "plot g", "compare g", "explore g", "data pack tiny.npz --out n")
    },
    "gan sample g --device toaster": "^--device must be one of auto, cpu, cuda, cuda:0, mps, got 'toaster'",
    # run folders
    "lstm train --out l": "^l: exists already and is never overwritten; choose another --out, or go on with --resume",
    "lstm train --out notes.txt/run": "^notes.txt/run: cannot be written .Not a directory.; a part of this path is a file",
    "lstm train --resume --out damaged": r"^damaged/run\.json: length must be at least 2, got 1; the run folder was damaged or",
    "gan evaluate notes.txt": "^notes.txt: has no run.json, so it is not a run folder",
    "lstm train --resume --out g": "^g: holds a run of kind 'gan', not 'lstm'; use the reviver gan commands",
    "gan train --resume --out g --epochs 1": r"^--epochs is 2 in this run, got 1",
    "lstm predict newer '1 2'": r"^newer/run\.json: has schema 2, and this Reviver reads only schema 1; use the version",
    "gan sample cut": "^cut/checkpoints/step-.*safetensors: cannot be read",
    # comparisons
    "compare l g": "^runs must be all of an LSTM or all of a GAN, got gan and lstm; compare each kind alone",
    "compare l g --format jpg": "^--format must be png, pdf or svg, got 'jpg'",
    "report --compare notes.txt": "^notes.txt: cannot be read",
    # assignments
    "check": "^FILE is missing; see reviver check --help",
    "check --start lstm --out notes.txt": "^--out must be a new file, got notes.txt, which exists; choose another --out",
    "check notes.txt --out grades.txt": "^--out must end in .csv, .html or .json, or name a folder, got grades.txt",
    "check notes.txt --points notes.txt": "^--points is only for a table of grades; give its --out",
    # traces
    "lstm trace gone '1 2' --out notes.txt/trace.pdf": "^notes.txt/trace.pdf: cannot be written .Not a directory.; a part of this path",
    "lstm trace l '1 2' --layer 2 --out new/folder/trace.pdf": "^--layer must be at most 1, got 2",
    # samples and interpolations
    "gan sample g --class 3": "^--class must be left out, since this run has no classes, got 3; train one with --conditional",
    "gan train --data tiny.npz --image-size 8 --conditional --out n": "^--data must have labels for a conditional GAN, got tiny",
    "gan sample g --num-samples 2501": "^--num-samples must be at most 2500 for a grid, got 2501; or give an .npz as --out",
    "gan sample g --num-samples 99999999999 --out s.npz": "^--num-samples must be at most 33554432, got 99999999999",
    "gan sample g --out grid.jpg": "^--out must be .png, .pdf, .svg or .npz, got '.jpg'",
    "gan interpolate g --from-image a.png": "^--from-image must be given with to_image, and the reverse; give both or neither",
    "gan project g": "^IMAGE is missing; see reviver gan project --help",
    "gan project g ./a.png --out a.png": "^--out must not be a file that is read, got a.png; choose another --out",
    "gan project g gone.png": "^gone.png: cannot be read",
    "gan interpolate g --view AQAH --seed 1": "^--seed must be left out, since view sets the ends, steps and path",
    "gan interpolate g --from 3 --to 8": "^--from must be left out, since this run did not learn MNIST at 28 x 28",
    "gan interpolate g --steps 49": "^--steps must be at most 48, got 49",
    # scores
    "gan evaluate g": r"^the digit classifier does not know .tiny.npz. as images of \[1, 8, 8\]",
    "gan train-extractor --data tiny.npz --out notes.txt": "^--out notes.txt exists already and is never overwritten; choose another --out",
    "gan interpolate g --annotate": "^--annotate must be left out, since the classifier knows only digits, which this run did not learn",
}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and modification time of everything in a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size if path.is_file() else 0, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_use_prints_one_line_and_writes_nothing(
    arguments: str, run: Run, workspace: Path, same_words: Callable[..., None]
) -> None:
    before = snapshot(workspace)
    result = run(arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert result.err.startswith("error: ")
    assert re.search(WRONG[arguments], result.err.removeprefix("error: ")), result.err
    same_words(result.err.strip().replace(str(workspace), "FOLDER"), arguments)
    assert snapshot(workspace) == before


def test_wrong_use_covers_every_command() -> None:
    for words in COMMANDS:
        assert words == ("report",) or any(arguments.startswith(" ".join(words)) for arguments in WRONG)


def test_debug_shows_the_traceback_before_the_line(run: Run) -> None:
    result = run("lstm train --length 1 --debug")
    assert result.code == 2
    assert result.err.startswith("Traceback (most recent call last):\n")
    assert result.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 1, "error: out of memory; use smaller sizes or batches"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "error: out of memory; use smaller"),
        (ZeroDivisionError("oh\nno"), 1, "error: ZeroDivisionError: oh no; run again with --debug, and report"),
        (OSError(28, "No space left on device"), 1, "error: output: No space left on device; fix this"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
    ],
)
def test_unexpected_errors_print_one_line(
    error: BaseException, code: int, message: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: str, /) -> None:
        raise error

    monkeypatch.setitem(COMMANDS, ("gan", "sample"), fail)
    result = run("gan sample g")
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(message)
    assert result.err.count("\n") == 1


def test_divergence_prints_one_line_with_its_step(run: Run, tmp_path: Path) -> None:
    for name, train in (("l", f"lstm train {TINY_LSTM}"), ("g", f"gan train {TINY_GAN}")):
        result = run(f"{train} --quiet --learning-rate 1e30 --out {tmp_path / name}")
        assert (result.code, result.out) == (1, "")
        assert re.match(r"error: step \d+: .* try a --learning-rate lower than 1e\+30 in a new --out\n$", result.err)
        assert RunFolder.open(tmp_path / name).status == "failed"
