"""Files of students are understood as they are: right ones pass in every style, wrong ones are named, none is accused falsely."""

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reviver.checker import loading, lstm_mistakes
from reviver.checker.assignment import find_pieces, recognize
from reviver.checker.cell_text import check_cell
from reviver.checker.pieces import PieceOutcome, run_pieces
from reviver.checker.submissions import find_submissions
from reviver.cli import main
from reviver.recurrent.grammar import built_in_cell
from tests.checker import student_files as files
from tools.tutorials import DOCS


@pytest.fixture(autouse=True)
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Change this process as a child is changed, and undo it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.delitem(sys.modules, "tensorboardX", raising=False)  # which another test may have imported
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.setattr(sys, "path_hooks", [*sys.path_hooks])
    monkeypatch.setattr(sys, "path", [*sys.path])
    for change in loading.CHANGES:
        monkeypatch.setattr(*change)
    loading.prepare()
    yield
    for name, module in list(sys.modules.items()):
        if name == "mine" or isinstance(module, loading.StandIn):
            del sys.modules[name]


def check(text: str, edits: str = "", name: str = "mine.py") -> dict[str, PieceOutcome]:
    for edit in filter(None, edits.split(" && ")):
        old, new = edit.split(" -> ")
        assert old.strip() in text, old
        text = text.replace(old.strip(), new.strip())
    Path(name).write_text(text)
    sources, problems, watch = loading.load([Path(name).resolve()])
    names = recognize(sources) | {"*seen": watch}
    found = {outcome.piece: outcome for outcome in run_pieces(names, find_pieces(names))}
    assert found, problems
    return found


TANH, LOST = "tanh(c) is missing in the hidden state", "torch.tanh(cell) -> cell"
RIGHT = [(files.LSTM, "sequence", style, edits) for style, edits in files.RIGHT_LSTMS.items()]
RIGHT += [(files.CELL, "lstm_step", style, edits) for style, edits in files.RIGHT_CELLS.items()]
WRONG = [(files.LSTM, "sequence", "lstm", mistake, edits) for mistake, edits in files.WRONG_LSTMS.items()]
WRONG += [(files.LSTM, "sequence", "lstm", mistake, edits) for edits, mistake in files.WRONG_LSTMS_TOO.items()]
UNSET = "super().__init__() -> super().__init__(); self.bias = torch.Tensor(hidden_dim) && torch.tanh(cell) -> torch.tanh(cell + self.bias)"
WRONG += [(files.CELL, "lstm_step", "lstm", "weights are memory that nothing fills", UNSET)]
WRONG += [(files.CELL, "lstm_step", "lstm", TANH, f"{edits} && {LOST}") for edits in files.RIGHT_CELLS.values()]
WRONG += [(files.GAN, "gan_step", "gan", mistake, edits) for mistake, edits in files.WRONG_GANS.items()]


@pytest.mark.parametrize(("text", "piece", "style", "edits"), RIGHT, ids=[case[2] for case in RIGHT])
def test_a_right_lstm_passes_however_it_is_called(text: str, piece: str, style: str, edits: str) -> None:
    assert check(text, edits)[piece].status == "passed"


@pytest.mark.parametrize(("text", "piece", "tutorial", "mistake", "edits"), WRONG, ids=[case[3] for case in WRONG])
def test_a_mistake_is_named(text: str, piece: str, tutorial: str, mistake: str, edits: str) -> None:
    outcome = check(text, edits)[piece]
    assert (outcome.status, outcome.mistake) == ("failed", mistake), outcome
    assert f"\n## {outcome.section}\n" in (DOCS / "tutorials" / f"{tutorial}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("style", files.RIGHT_GANS)
def test_a_right_gan_passes(style: str) -> None:
    found = check(files.GAN, files.RIGHT_GANS[style])
    assert {piece: each for piece, each in found.items() if each.status != "passed"} == {}
    assert found.keys() == {"generator", "discriminator", "gan_step"}


def test_a_gan_without_classes_is_told_by_what_its_optimizers_hold_and_its_data_may_be_missing() -> None:
    text = """
import torch
from keras.datasets import mnist
from torch import nn
(x_train, _), _ = mnist.load_data()
data = torch.utils.data.DataLoader(x_train, 32)
first = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Sequential(nn.Linear(64, 784), nn.Tanh()))
second = nn.Sequential(nn.Linear(784, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
a, b = torch.optim.Adam(first.parameters()), torch.optim.Adam(second.parameters())
loss = nn.BCEWithLogitsLoss()
for x, _ in data:
    x, fake = x.view(len(x), 784), first(torch.randn(len(x), 20))
    b.zero_grad()
    (loss(second(x), torch.ones(len(x), 1)) + loss(second(fake.detach()), torch.zeros(len(x), 1))).backward()
    b.step()
    a.zero_grad()
    loss(second(fake), torch.ones(len(x), 1)).backward()
    a.step()
"""
    assert {each.piece: each.status for each in check(text).values()} == dict.fromkeys(
        ("generator", "discriminator", "gan_step"), "passed"
    )
    step = check(text, "b.zero_grad() -> a.zero_grad()")["gan_step"]
    assert (step.status, step.mistake) == ("failed", "the gradients are never cleared")


@pytest.mark.parametrize("edits", files.CONDITIONAL_MISTAKES)
def test_a_conditional_gan_of_one_class_is_called_as_it_was_seen_to_be(edits: str) -> None:
    found, mistake = check(files.CONDITIONAL_GAN, edits), files.CONDITIONAL_MISTAKES[edits]
    wrong = {each.mistake for each in found.values() if each.status == "failed"}
    assert (wrong, {each.status for each in found.values()} == {"passed"}) == ({mistake} - {""}, not mistake)


def test_classes_of_a_gan_that_cannot_be_built_as_the_file_builds_them_are_wrong() -> None:
    assert (
        check(files.GAN, "super().__init__() -> super().__init()")["generator"].mistake
        == "a method of super() does not exist"
    )
    built = check(files.GAN + "\nG = Generator(3)\n")["gan_step"]
    assert (built.status, built.mistake) == ("failed", "a class is built with other arguments than it takes")


def test_a_gan_of_lightning_is_trained_and_a_line_of_a_notebook_may_begin_with_a_percent_sign() -> None:
    outcomes = check(files.LIGHTNING_GAN)
    assert {each.piece: each.status for each in outcomes.values()} == dict.fromkeys(
        ("generator", "discriminator", "gan_step"), "passed"
    )
    same = check(files.LIGHTNING_GAN, "F.softplus(fake).mean() + -> F.softplus(-fake).mean() +")["gan_step"]
    assert same.mistake == "the loss of D wants the same answer for real and for generated images"
    source = files.CONDITIONAL_GAN.replace("    paint.step()", "    paint.step()\n    print('%d'\n    % len(images))")
    cells = [{"cell_type": "code", "source": ["%matplotlib inline\n", "!ls\n", source]}]
    assert check(json.dumps({"cells": cells}), name="mine.ipynb")["gan_step"].status == "passed"


def test_weights_that_nothing_fills_are_wrong_once_the_training_is_handed_in() -> None:
    train = """
def train(data):
    model = LSTM(5, 1, 16, 10, 9)
    opt = torch.optim.SGD(model.parameters(), 0.1)
    for x, y in data:
        opt.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        opt.step()
"""
    alone, whole = (
        check(text, "torch.randn( -> torch.empty(")["sequence"] for text in (files.LSTM, files.LSTM + train)
    )
    assert (alone.status, alone.remarks[0]) == ("passed", "W_gx is not initialized here")
    assert (whole.status, whole.mistake) == ("failed", "weights are memory that nothing fills")


def test_eps_in_the_place_of_momentum_is_a_remark_and_a_sigmoid_does_not_reach_minus_one() -> None:
    assert "0.8 as eps" in check(files.GAN, "BatchNorm1d(32) -> BatchNorm1d(32, 0.8)")["generator"].remarks[0]
    assert (
        check(files.GAN, "nn.Tanh() -> nn.Sigmoid()")["generator"].mistake
        == "there is a sigmoid at the end of G, not tanh"
    )
    unscaled = "nn.Tanh() -> nn.Sigmoid() && , transforms.Normalize((0.5,), (0.5,)) -> "
    assert check(files.GAN, unscaled)["generator"].status == "passed"


@pytest.mark.parametrize("order", files.LOOPS)
def test_a_loop_is_read(order: str) -> None:
    calls = {"zero_grad": "opt.zero_grad()", "backward": "loss.backward()", "step": "opt.step()"}
    calls["clip"] = "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=10)"
    lines = ["import torch", "def train(config):", "    for x, y in loader:", "        loss = criterion(model(x), y)"]
    text = "\n".join([*lines, *(f"        {calls[part]}" for part in order.split())])
    text += "\ndef clear():\n    w.grad.zero_()"
    for clear in ("opt.zero_grad()", "w.grad = None", "clear()"):
        outcome = check(text.replace("opt.zero_grad()", clear))["training"]
        assert (outcome.status, outcome.mistake) == ("failed" if files.LOOPS[order] else "passed", files.LOOPS[order])
        assert outcome.text.startswith("looks like: " if files.LOOPS[order] else "by reading: ")


@pytest.mark.parametrize(
    ("edit", "mistake"),
    [
        ("", ""),
        (
            "backward()\n        clip_grad_norm_ -> backward()\n        print",
            "the gradient is not clipped before the update",
        ),
        ("backward -> detach().requires_grad_().backward", "the loss does not reach the parameters of the optimizer"),
        ("AT_END = 1 -> return", "only the first batch is used"),
        ("AT_END = 1 -> if x is not y: continue\n        break", ""),
    ],
)
def test_a_loop_that_can_be_called_runs(edit: str, mistake: str) -> None:
    """Clearing stands in a function, so that reading alone would accuse the loop."""
    text = """
import torch
from elsewhere import LSTM, loader
from torch.nn.utils import clip_grad_norm_
def clear(model):
    for p in model.parameters(): setattr(p, "grad", None)
def train(config):
    model = LSTM(10)
    opt = torch.optim.SGD(model.parameters(), lr=config.lr)
    for x, y in torch.utils.data.DataLoader(loader):
        clear(model); torch.nn.functional.cross_entropy(model(x), y).backward()
        clip_grad_norm_(model.parameters(), 10)
        opt.step(); clip_grad_norm_(model.parameters(), 10)
        AT_END = 1
"""
    outcome = check(text, edit)["training"]
    assert (outcome.status, outcome.mistake) == ("failed" if mistake else "passed", mistake)
    assert ("two updates" in outcome.text) == ("return" not in edit)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_functions_without_a_signature_are_no_pieces() -> None:
    script = "import torch\n@torch.jit.script\ndef twice(x: torch.Tensor) -> torch.Tensor:\n    return 2 * x\n"
    assert check(script + files.LSTM)["sequence"].status == "passed"


def test_a_loop_gets_the_options_of_its_parser_and_two_classes() -> None:
    """With one class the loss has no gradient, and every loop would look as if it cleared gradients before the step."""
    text = """
import argparse
import torch
class LSTM(torch.nn.Module):
    def __init__(self, input_dim, num_hidden, num_classes):
        super().__init__()
        self.W_x, self.W_h = torch.nn.Linear(input_dim, 4 * num_hidden), torch.nn.Linear(num_hidden, 4 * num_hidden)
        self.out, self.num_hidden = torch.nn.Linear(num_hidden, num_classes), num_hidden
    def forward(self, x):
        h = c = torch.zeros(len(x), self.num_hidden)
        for x_t in x.unbind(1):
            i, f, g, o = (self.W_x(x_t) + self.W_h(h)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.out(h)
def train(config):
    model = LSTM(config.input_dim, config.num_hidden, config.num_classes)
    opt = torch.optim.SGD(model.parameters(), lr=config.learning_rate)
    for x, y in torch.utils.data.DataLoader(None, config.batch_size):
        opt.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        opt.step()
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name, value in (("input_dim", 1), ("num_hidden", 16), ("num_classes", 10), ("batch_size", 9), ("learning_rate", 0.1)):
        parser.add_argument("--" + name, default=value)
    train(parser.parse_args())
"""
    options = text[text.index("    parser =") : text.index("    train(parser")]
    for source in (text, text.replace(options, "")):
        outcome = check(source)["training"]
        assert (outcome.status, outcome.text) == ("passed", "by running two updates: zero_grad, backward, step")


@pytest.mark.parametrize(
    ("use", "remark"),
    [
        ("", " is ignored"),
        ("; h, c = state or (h, c)", ""),
        ("; h, c = state or (h, c); h = h / 2", " has another effect than in the equations"),
        ("; h, c = (state, c) if state else (h, c)", ": line 21: TypeError"),
    ],
)
def test_a_state_that_is_given_has_its_effect_or_a_remark(use: str, remark: str) -> None:
    start = "c = torch.zeros(self.batch_size, self.num_hidden, device=self.device)"
    outcome = check(files.LSTM, f"forward(self, x): -> forward(self, x, state=None): && {start} -> {start}{use}")[
        "sequence"
    ]
    assert outcome.status == "passed"
    assert any(f"before the first step{remark}" in each for each in outcome.remarks) == bool(remark)


def test_what_is_not_understood_is_not_wrong_and_says_what_to_write() -> None:
    outcome = check(files.LSTM, "num_hidden, num_classes, -> num_hidden, num_classes, how_many_of_these,")["sequence"]
    assert (outcome.status, outcome.mistake) == ("unclear", "")
    assert outcome.text == "what should be the argument how_many_of_these of LSTM?"
    assert outcome.hint.startswith("give how_many_of_these a default, or call it one of ")
    noise = check(files.GAN, "nn.BCELoss() -> lambda answers, _: (answers * torch.randn_like(answers)).mean()")[
        "gan_step"
    ]
    assert (noise.status, noise.hint) == ("unclear", "use the losses of the text")
    outcome = check(files.LSTM, "range(self.seq_length) -> range(self.seq_length - 1)")["sequence"]
    assert outcome.status == "unclear"
    assert outcome.text.startswith("it reads one step fewer than seq_length")


def test_the_training_tells_whether_a_step_is_left_out_and_whether_the_loss_compares_what_belongs_together() -> None:
    text = """
model = LSTM(6, 1, 16, 1, 9)
opt = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(3):
    opt.zero_grad()
    nn.functional.mse_loss(model(torch.randn(9, 5)), torch.randn(9, 1)).backward()
    opt.step()
"""
    fewer = "range(self.seq_length) -> range(self.seq_length - 1)"
    assert {each.status for each in check(files.LSTM + text, fewer).values()} == {"passed"}
    found = check(files.LSTM + text, f"{fewer} && torch.randn(9, 5) -> torch.randn(9, 6)")["sequence"]
    assert (found.status, found.mistake) == ("failed", "the last step is left out")
    found = check(files.LSTM + text, f"{fewer} && torch.randn(9, 1)) -> torch.randn(9))")["training"]
    assert (found.status, found.mistake) == ("failed", "the loss compares each answer with each target")


def test_a_wrong_cell_is_told_from_other_classes_by_its_mistake_and_d2l_need_not_be_there() -> None:
    text = (
        files.CELL.replace("class LSTM(", "class Memory(")
        + """
class SimpleRNNCell(nn.Module):
    def __init__(self, input_dim, hidden_dim):
        super().__init__()
        self.both = nn.Linear(input_dim + hidden_dim, hidden_dim)

    def forward(self, x, h):
        return torch.tanh(self.both(torch.cat((x, h), 1)))
"""
    )
    assert check(text)["lstm_step"].status == "passed"
    found = check(text, "o * torch.tanh(cell) -> o * cell")["lstm_step"]
    assert (found.status, found.mistake) == ("failed", "tanh(c) is missing in the hidden state")
    d2l = (
        "import torch.nn as nn -> import torch.nn as nn; from d2l import torch as d2l && (nn.Module): -> (d2l.Module):"
    )
    kept = "self.seq_length, self.num_hidden, self.batch_size, self.device = seq_length, num_hidden, batch_size, device"
    outcome = check(files.LSTM, f"{d2l} && {kept} -> self.save_hyperparameters()")
    assert outcome["sequence"].status == "passed"


def test_an_lstm_that_raises_for_every_x_is_wrong_if_no_call_of_it_can_be_meant_otherwise() -> None:
    edits = f"x_t = {files.X_T} -> x = {files.X_T}; x_t = x"
    outcome = check(files.LSTM, edits)["sequence"]
    assert outcome.status == "failed"
    assert outcome.text.startswith(
        "forward raises for every x (B = 6, T = 5, I = 3, H = 8, C = 7); for [B, T, I]: line 20: IndexError"
    )
    for other in (
        "forward(self, x) -> forward(self, x, words)",
        "torch.sigmoid -> torch.tanh",
        "self.device) -> torch.cuda.get_device_name())",
    ):
        assert check(files.LSTM, f"{edits} && {other}")["sequence"].status == "unclear"


@pytest.mark.parametrize(("letters", "status"), [("gifo", "failed"), ("gifk", "failed"), ("klmn", "unclear")])
def test_an_unknown_mistake_counts_if_the_gates_are_known_by_their_names(
    letters: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lstm_mistakes, "SEQUENCE_MISTAKES", lstm_mistakes.SEQUENCE_MISTAKES[:2])  # all pairs take long
    renamed = [
        f"{old} -> {old.replace(f'_{a}', f'_{b}')}"
        for a, b in zip("gifo", letters, strict=True)
        for old in (f"W_{a}x", f"W_{a}h", f"b_{a}")
    ]
    edits = " && ".join([f"'gifo' -> '{letters}'", *renamed, "c = g * i -> c = g * i * i"])
    assert check(files.LSTM, edits)["sequence"].status == status


def test_a_notebook_counts_without_its_magics_and_its_training() -> None:
    cells = [
        "%matplotlib inline\n!pip install torch\n",
        files.LSTM,
        "%%bash\nls",
        "while True: model.step()",
        "x = 1 +",
    ]
    data: dict[str, Any] = {"cells": [{"cell_type": "code", "source": [cell]} for cell in cells]}
    assert check(json.dumps(data), name="mine.ipynb")["sequence"].status == "passed"
    edits = "range(self.seq_length) -> range(seq_length)"  # which a cell that is left out may define
    assert check(json.dumps(data), edits, name="mine.ipynb")["sequence"].status == "unclear"


@pytest.mark.parametrize(
    ("names", "students"),
    [
        (["ada_12345_678_lstm.py", "ben_late_12346_679_lstm.py"], ["ada", "ben"]),
        (["Ada L_123_assignsubmission_file_/lstm.py", "Ben M_124_assignsubmission_file_/lstm.py"], ["Ada L", "Ben M"]),
        (["1-2 - Ada - May 3, 2026 1159 PM/lstm.py", "3-4 - Ben - May 3, 2026 1158 PM/a/lstm.py"], ["Ada", "Ben"]),
        (["export/submission_11/lstm.py", "export/submission_12/lstm.py", "__MACOSX/x.py"], ["11", "12"]),
        (["lstm.py", "part2/gan.py"], ["class.zip"]),
    ],
)
def test_a_zip_has_the_names_of_its_system(names: list[str], students: list[str]) -> None:
    with zipfile.ZipFile("class.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "x = 1")
    assert [each.name for each in find_submissions([Path("class.zip")], Path("unpacked"))] == students


def test_equations_are_compared_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = built_in_cell("lstm").text
    Path("my.cell").write_text(text)
    assert main(["check", "my.cell"]) == 0
    edits = {"U_f @ h": "U_i @ h", "g = tanh": "g = sigmoid", "o * tanh": "o + tanh", "b_f: 1": "b_f: 0"}
    for old, new in edits.items():
        text = text.replace(old, new)
    Path("my.cell").write_text(text)
    report = check_cell(Path("my.cell"), "lstm")
    assert [(o.piece, o.mistake) for o in report.outcomes if o.status == "failed"] == [
        ("f", "only U_i is not what belongs there"),
        ("g", "only sigmoid is not the function that belongs there"),
        ("h", "only the operator between o and tanh(c) is another"),
        ("b_f", ""),
    ]
    capsys.readouterr()
    assert main(["check", "my.cell", "--against", "gru"]) == 1
    assert "cannot be compared with gru line by line: c is no state there; " in capsys.readouterr().out


def test_a_network_around_a_cell_is_judged_by_its_steps() -> None:
    found = check(files.AROUND)
    assert {name: outcome.status for name, outcome in found.items()} == dict.fromkeys(found, "passed")
    assert set(found) == {"lstm_step", "sequence", "training"}
    assert "each of 6 steps takes h and c of the step before" in found["sequence"].text
    reset = check(files.AROUND, "cell(x, states[index]) -> cell(x, (torch.zeros(len(x), 5), torch.zeros(len(x), 5)))")
    assert reset["sequence"].mistake == "the state is reset at every step"


def test_an_lstm_without_a_class_is_judged_by_the_graph_of_its_loss() -> None:
    found = check(files.FUNCTIONS)
    assert {name: outcome.status for name, outcome in found.items()} == {"sequence": "passed", "training": "passed"}
    assert "each of 7 steps takes h and c of the step before" in found["sequence"].text
    for mistake, edit in files.FUNCTION_EDITS.items():
        assert check(files.FUNCTIONS, edit)["sequence"].mistake == mistake
    peephole = check(files.FUNCTIONS, "torch.sigmoid(show) -> torch.sigmoid(show + c)")["sequence"]
    assert (peephole.status, peephole.mistake) == ("unclear", "")


def test_an_attribute_that_nothing_sets_is_named_unless_a_missing_module_may_set_it() -> None:
    text = "class LSTM(nn.Module):\n    def __init__(self, graph):\n        super().__init__()\n        self.graph = graph\n"
    text = f"import torch\nfrom torch import nn\n{text}    def forward(self, x):\n        return torch.sigmoid(self.gates(x))\n"
    outcome = check(text)["sequence"]
    assert (outcome.mistake, outcome.text) == (
        "an attribute is read before it is set",
        "line 8: nothing sets self.gates",
    )
    missing = check(
        text, "from torch import nn -> from torch import nn; from base import Base && nn.Module): -> Base):"
    )
    assert missing["sequence"].status == "unclear"


def test_a_weight_that_no_optimizer_has_is_named() -> None:
    outcome = check(files.AROUND, "Adam(model.parameters()) -> Adam(model.out.parameters())")["training"]
    assert outcome.mistake == "the optimizer has not all weights of the network"
    assert outcome.text == "words.weight gets a gradient, and no optimizer has it"
