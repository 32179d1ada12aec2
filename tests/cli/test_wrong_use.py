"""Wrong use and failures: one line on stderr, an exit code, and nothing written."""

import re
from pathlib import Path

import pytest

from reviver.cli import app
from reviver.cli.app import COMMANDS
from reviver.runs.folder import RunFolder
from tests.cli.tiny import Run, for_both_kinds

WRONG = {
    # commands
    "foo": "^command 'foo' is unknown; choose from lstm, gan, data, report",
    "repot": r"^command 'repot' is unknown; did you mean report\?",
    "lstm": "^reviver lstm requires a command; choose from train, evaluate, predict, curve, trace",
    "gan trian": r"^command 'trian' is unknown; did you mean train\?",
    # options
    "--bogus": "^--bogus is unknown; see reviver --help",
    "lstm train --lenght 3": r"^--lenght is unknown; did you mean --length\?",
    "lstm train --lr 3": r"^--lr is unknown; did you mean --learning-rate\?",
    "lstm train --hd 3": r"^--hd is unknown; did you mean --hidden-dropout\?",
    "lstm predict '1 2' l": "^RUN must come before DIGITS: give l '1 2'$",
    "lstm trace '1 2' l": "^RUN must come before DIGITS: give l '1 2'$",
    "lstm train --epochs": "^--epochs requires a value; see reviver lstm train --help",
    "lstm curve --network gru --out n": "^--network must be fixed, curriculum, chrono or rnn, got 'gru'",
    "lstm curve --length 1 --out n": "^--length must be at least 2, got 1",
    "lstm evaluate l --length 3 --out figure.gif": "^--out must end in one of .pdf, .svg, .png for a figure, got figure.gif",
    "lstm predict l 1 2": "^'2' is an unexpected argument .quote text that contains spaces.; see reviver lstm predict --help",
    "gan train --out ''": "^--out must not be empty, got ''",
    # presets and fields
    "lstm train --preset foo": "^--preset 'foo' is unknown; choose from original, onehot",
    "lstm train --length 1": "^--length must be at least 2, got 1",
    "lstm train --length abc": "^--length must be an integer, got 'abc'",
    "lstm train --length 99999999999999999999": "^--length must be at most 10000000, got 99999999999999999999",
    "lstm train --encoding words": "^--encoding must be scalar or onehot, got 'words'",
    "gan train --packing 3": "^--packing must divide the batch_size 128, got 3",
    "lstm train --curriculum=true false": "^'false' is an unexpected argument .quote text",
    "lstm train --bidirectional perhaps": "^'perhaps' is an unexpected argument .quote text",
    "lstm train --learning-rate nan": "^--learning-rate must be greater than 0, got nan",
    # export
    "export l": "^--format is missing; see reviver export --help",
    "export l --format pickle": "^--format must be onnx or hub, got 'pickle'",
    "export l --format hub --opset 13": "^--opset is only for the format onnx; leave it out",
    "export l --format onnx --opset 12": "^--opset must be from 13, the first with all operators of the",
    "export l --format onnx --opset 999": "the last that the installed onnx [0-9.]+ knows, got 999",
    "export l --format onnx --opset many": "^--opset must be an integer, got 'many'",
    "export l --format onnx --license mit": "^--license is only for the model card of the format hub; leave it out",
    "export l --format hub --license 'MIT: yes'": "^--license must match",
    "export l --format onnx --checkpoint worst": "^--checkpoint must be last or best, got 'worst'",
    "export g --format onnx --checkpoint best": "^--checkpoint must be last, got 'best'",
    "export l --format onnx --out g": "^g: cannot be written .Is a directory",
    "export l --format onnx --out notes.txt/model": "^notes.txt/model: cannot be written",
    "export l --format hub --out notes.txt/model": "^notes.txt/model: cannot be written",
    "export l --format hub --out notes.txt": "^notes.txt/model.safetensors: cannot be written",
    # figures of a run
    "plot nothing": "^nothing: does not exist",
    "plot empty": "^empty: has no run.json, so it is not a run folder",
    "plot l --figure-width 1": "^--figure-width must be at least 2, got 1.0",
    "plot l --font-size 99": "^--font-size must be at most 60, got 99.0",
    "plot l --format gif": "^--format must be png, pdf or svg, got 'gif'",
    "plot l --out notes.txt": "^notes.txt/curves.png: cannot be written",
    # packed data
    "data": "^reviver data requires a command; choose from pack",
    "data pack tiny.npz --out empty": "^empty: exists already and is never overwritten; choose another --out",
    "data pack nothing --out p": "^nothing does not exist; give mnist",
    "data pack tiny.npz --image-size 2 --out p": "^--image-size must be at least 4, got 2",
    "data pack tiny.npz --label-column y --out p": "^--label-column is only for sequences, and tiny.npz holds images",
    "data pack s.csv --image-size 8 --out p": "^--image-size is only for images, and s.csv holds sequences; leave it out",
    "data pack tiny.npz --kind sequences --out p": "^tiny.npz: there is no array 'x' among 'images'",
    "data pack tiny.npz --out notes.txt/p": "^notes.txt/p: cannot be written .*; a part of this path is a file",
    # the explorer
    "explore": "^RUN is missing; see reviver explore --help",
    "explore l --out empty": "^empty: cannot be written .Is a directory",
    "explore l --out notes.txt/e.html": "^notes.txt/e.html: cannot be written .*; a part of this path is a file",
    # sweeps
    "sweep": "^FILE is missing; see reviver sweep --help",
    "sweep nothing.toml": "^nothing.toml: cannot be read .No such file",
    "sweep pipe.toml": "^pipe.toml: cannot be read .it is not a regular file",
    "sweep axis.toml": "^axis.toml: grid.length must have at least 1 value, got an empty list",
    "sweep sweep.toml --address 127.0.0.1:6379": "^--address is only for --engine ray; leave it out",
    "sweep sweep.toml --out l": "^l: exists and is not the folder of a sweep; choose another --out",
    "sweep sweep.toml --out notes.txt": "^notes.txt: exists and is not the folder of a sweep",
    # settings files; more of them in tests/files/test_hostile.py
    "lstm train --config nothing.toml": "^--config nothing.toml cannot be read .No such file",
    "lstm train --config pipe.toml": "^--config pipe.toml cannot be read .it is not a regular file",
    "lstm train --config ''": "^--config must not be empty",
    "lstm train --config=unknown.toml": r"^unknown.toml: lenght is unknown; did you mean length\?",
    "lstm train --config code.yaml": "^--config must be a .toml or .json file, got 'code.yaml'",
    "lstm train --config wrong.toml --config wrong.toml": "^--config may be given only once",
    "lstm train --length 3 --length 4": "^--length may be given only once",
    "lstm train --length 0x10": "^--length must be an integer, got '0x10'",
    "lstm train --length 1_000": "^--length must be an integer, got '1_000'",
    "lstm train --data=": "^--data must not be empty",
    "lstm train --curriculum=perhaps": "^--curriculum must be true or false, got 'perhaps'",
    # data
    "gan train --data nothing --out n": "^--data nothing does not exist; give mnist, fashion-mnist, .*, an image folder, an .npz",
    "gan train --data notes.txt --out n": "^--data notes.txt is of an unknown kind",
    "lstm predict l '1 x 2'": "^digits must be digits such as \"1 2 3 2\", got 'x' in '1 x 2'",
    "lstm predict l '-1'": "^digits must be digits such as .*, got '-' in '-1'",
    "lstm predict l ''": "^digits must be digits such as .*, got nothing in ''",
    # devices
    "lstm train --device cuda --out n": "^--device 'cuda' is not available on this machine; use --device auto or --device cpu",
    "gan sample g --device toaster": "^--device must be one of auto, cpu, cuda, cuda:0, mps, got 'toaster'",
    # run folders
    "lstm train --out l": "^l: exists already and is never overwritten; choose another --out, or go on with --resume",
    "lstm train --out notes.txt/run": "^notes.txt/run: cannot be written .Not a directory.; a part of this path is a file",
    "lstm train --out /proc/run": "^/proc/run: cannot be written",
    "lstm train --resume --out empty": "^empty: has no run.json, so it is not a run folder",
    "lstm train --resume --out g": "^g: holds a run of kind 'gan', not 'lstm'; use the reviver gan commands",
    "lstm train --resume --out l --length 4": r"^--length is 3 in this run, got 4; leave it out to resume",
    "gan train --resume --out g --epochs 1": r"^--epochs is 2 in this run, got 1",
    "gan interpolate l": "^l: holds a run of kind 'lstm', not 'gan'; use the reviver lstm commands",
    "lstm predict newer '1 2'": r"^newer/run\.json: has schema 2, and this Reviver reads only schema 1; use the version",
    "lstm evaluate odd": "^odd/run.json: .* is missing; the run folder was damaged or written by another version",
    "gan sample cut": "^cut/checkpoints/.*networks.safetensors: cannot be read",
    "lstm predict l '1 2' --checkpoint first": "^--checkpoint must be last or best, got 'first'",
    # traces
    f"lstm trace l {'1' * 10_001}": "^digits must be at most 10000 to be plotted, got 10001",
    "lstm trace nothing '1 2' --out trace": "^--out must end in one of .pdf, .svg, .png for a figure, got trace",
    "lstm trace l '1 2' --layer 2": "^--layer must be at most 1, got 2",
    "lstm trace l '1 2' --direction backward": "^--direction must be forward for a run that reads forward only, got 'backward'",
    # samples and interpolations
    "gan sample g --class 3": "^--class must be left out, since this run has no classes, got 3; train one with --conditional",
    "gan train --data tiny.npz --image-size 8 --conditional --out n": "^--data must have labels for a conditional GAN, got tiny",
    "gan sample g --num-samples 3000": "^--num-samples must be at most 2500 for a grid, got 3000; or give an .npz as --out",
    "gan sample g --num-samples 99999999999 --out s.npz": "^--num-samples must be at most 33554432, got 99999999999",
    "gan sample g --out grid.jpg": "^--out must be .png, .pdf, .svg or .npz, got '.jpg'",
    "gan interpolate g --from-image a.png": "^--from-image must be given with to_image, and the reverse; give both or neither",
    "gan project g": "^IMAGE is missing; see reviver gan project --help",
    "gan project g gone.png": "^gone.png: it cannot be read",
    "gan interpolate g --view A!": "^--view must have only letters, digits, - and _, got '!'; copy it again",
    "gan interpolate g --view AQAH": "^--view is damaged; copy it again from the explorer",
    "gan interpolate g --view AQAH --seed 1": "^--seed must be left out, since view sets the ends, steps and path",
    "gan interpolate g --from 3 --to 8": "^--from must be left out, since this run did not learn MNIST at 28 x 28",
    # scores
    "gan evaluate g": r"^the digit classifier does not know .tiny.npz. as images of \[1, 8, 8\]",
    "gan evaluate nothing --out nearest.jpg": "^--out must end in one of .pdf, .svg, .png for a figure, got nearest.jpg",
    "gan train-extractor --data nothing": "^--data nothing does not exist; give mnist, fashion-mnist, ",
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
def test_wrong_use_prints_one_line_and_writes_nothing(arguments: str, run: Run, workspace: Path) -> None:
    before = snapshot(workspace)
    result = run(arguments)
    assert result.code == 2, result.err
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in lines[0]
    assert re.search(WRONG[arguments], lines[0].removeprefix("error: ")), lines[0]
    assert snapshot(workspace) == before


def test_wrong_use_covers_every_command() -> None:
    for words in COMMANDS:
        assert words == ("report",) or any(arguments.startswith(" ".join(words)) for arguments in WRONG)


@pytest.mark.parametrize("arguments", ["lstm train --length 1", "gan sample nothing", "--bogus"])
def test_debug_shows_the_traceback_before_the_line(arguments: str, run: Run) -> None:
    result = run(f"{arguments} --debug")
    assert result.code == 2
    assert result.err.startswith("Traceback (most recent call last):\n")
    assert result.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 1, "error: out of memory; use smaller sizes or batches"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "error: out of memory; use smaller"),
        (
            ZeroDivisionError("oh\nno"),
            1,
            "error: ZeroDivisionError: oh no; run again with --debug, and report this bug",
        ),
        (OSError(28, "No space left on device"), 1, "error: output: No space left on device; fix this"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
    ],
)
def test_unexpected_errors_print_one_line(
    error: BaseException, code: int, message: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: str, /) -> None:
        raise error

    monkeypatch.setitem(app.COMMANDS, ("gan", "sample"), fail)
    result = run("gan sample g")
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(message)
    assert result.err.count("\n") == 1


@for_both_kinds
def test_divergence_prints_one_line_with_its_step(train: str, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run(f"{train} --quiet --learning-rate 1e30 --out {out}")
    assert (result.code, result.out) == (1, "")
    assert re.match(r"error: step \d+: .* try a --learning-rate lower than 1e\+30 in a new --out\n$", result.err)
    assert RunFolder.open(out).status == "failed"
