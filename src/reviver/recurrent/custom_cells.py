"""A network of user-defined recurrent cells, which run step by step.

The contract is that of the cells of torch: `cell = Class(input_size, hidden_size)`, a module, and
`state = cell(x, state)` with x [B, I]. `state` is None at the start, then what the last call returned: h [B, H], or a
tuple of tensors [B, ...] whose first is h.

Shapes: B batch, T time, I input size, H hidden size, L layers, C classes.
"""

import copy
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from reviver.errors import ConfigError
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.recurrent.layers import checked_lengths, is_inside
from reviver.rng import Rng, rand
from reviver.settings.lstm_network import LSTMClassifierSpec
from reviver.settings.parts import CustomClass, explaining
from reviver.settings.validation import refuse

States = tuple[Tensor, ...]
"""Entries of the state of all layers, [L, B, ...] each; the first is h, [L, B, H]."""
PROBE_BATCH, PROBE_STEPS = 3, 2


class CellLayers(nn.Module):
    """Layers of a recurrent cell, which run step by step.

        state_t = cell(x_t, state_{t-1}),   h_t ← m_t ⊙ h_t

    m_t is the dropout mask of the hidden state, sampled at every step in training. After its last step a sequence keeps
    its state. `part` is the class of the cells, or an instance, which is copied with its weights for each layer.
    """

    num_directions = 1

    def __init__(self, part: CustomClass, spec: LSTMClassifierSpec) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = spec.input_size, spec.hidden_size, spec.num_layers
        self.hidden_dropout, self.dropout = spec.hidden_dropout, spec.dropout
        self.cells = nn.ModuleList()
        for size in (spec.input_size, *[spec.hidden_size] * (spec.num_layers - 1)):
            with explaining("cell", part, f"{part.name}(input_size, hidden_size)"):
                cell = part.build(size, spec.hidden_size)
            if not isinstance(cell, nn.Module):
                _refuse(part, f"must be a subclass of torch.nn.Module, got one of {type(cell).__bases__[0].__name__}")
            self.cells.append(cell)

    def forward(
        self,
        x: Tensor,
        state: States | None = None,
        lengths: Tensor | None = None,
        *,
        rng: Rng = None,
        trace: list[list[States]] | None = None,
    ) -> tuple[Tensor, States]:
        """Run all layers over a batch x [B, T, I] from a `state`, None at the start.

        `lengths` are the steps of each sequence, [B] int64, all T if None. A list of the states after each step is added to
        `trace` for each layer. Return the hidden states of the last layer, [B, T, H], 0 after the end of a sequence, and the
        final state.
        """
        batch, steps, _ = x.shape
        shape, inside = (steps, batch, self.hidden_size), None
        running: list[Tensor | None] = [None] * steps  # rows of each step; None: all
        if lengths is not None:
            inside = is_inside(checked_lengths(lengths, x.transpose(0, 1)), steps)  # [B, T, 1]
            running = [None if bool(rows.all()) else rows.nonzero()[:, 0] for rows in inside[:, :, 0].T]
        output, finals = x.transpose(0, 1), []
        for index, cell in enumerate(self.cells):
            if index and self.training and self.dropout > 0.0:
                output = output * sample_masks(shape, self.dropout, rng, output)
            masks = None
            if self.training and self.hidden_dropout > 0.0:
                masks = sample_masks(shape, self.hidden_dropout, rng, output).unbind()
            now = None if state is None else tuple(entry[index] for entry in state)
            states: list[States] = []
            for t, x_t in enumerate(output.unbind()):  # T times [B, I]
                mask = None if masks is None else masks[t]
                now = self._advance(cell, x_t, now, running[t], mask)
                states.append(now)
            output = torch.stack([each[0] for each in states])  # [T, B, H]
            finals.append(states[-1])
            if trace is not None:
                trace.append(states)
        output = output.transpose(0, 1)
        if inside is not None:
            output = torch.where(inside, output, 0.0)
        return output, tuple(torch.stack(entries) for entries in zip(*finals, strict=True))

    def _advance(
        self, cell: nn.Module, x: Tensor, state: States | None, rows: Tensor | None, mask: Tensor | None
    ) -> States:
        """Return the state after a step of the sequences `rows`, which alone the cell sees; the others keep theirs."""
        before = state
        if rows is not None:
            x, mask = x[rows], None if mask is None else mask[rows]
            before = None if state is None else tuple(entry[rows] for entry in state)
        found = cell(x, None if before is None else self._restore(before))
        self.form = type(found)
        h, *others = _entries(found)
        new = (h if mask is None else mask * h, *others)
        if rows is None or state is None:
            return new
        return tuple(old.index_copy(0, rows, entry) for old, entry in zip(state, new, strict=True))

    @cached_property
    def example(self) -> Any:
        """A state of one sequence, as the cell returns it."""
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            cell = copy.deepcopy(self.cells[0]).eval()
            return cell(next(cell.parameters(), torch.empty(0)).new_zeros(1, self.input_size), None)

    @cached_property
    def form(self) -> type[Any]:
        """Type of a state as the cell returns it."""
        return type(self.example)

    def _restore(self, entries: States) -> Any:
        """Return a state as the cell returned it."""
        if issubclass(self.form, Tensor):
            return entries[0]
        return self.form(*entries) if hasattr(self.form, "_fields") else entries


class CellClassifier(RecurrentClassifier):
    """`CellLayers`, and a linear layer on the final hidden state of the last one.

    `spec` has the arguments of `LSTMClassifier`, and `rng` is the random number generator of the initial weights.
    """

    _layers = "layers"

    def __init__(self, part: CustomClass, spec: LSTMClassifierSpec, rng: torch.Generator | None = None) -> None:
        super().__init__(spec)
        with torch.random.fork_rng(devices=[]):
            if rng is not None:
                torch.manual_seed(int(torch.randint(2**62, (), generator=rng, device="cpu")))
            self.layers = CellLayers(part, spec)
            self.add_output(spec.num_classes, None, None)
        if rng is not None:
            self.reset_output(rng)

    def save_pretrained(self, folder: str | Path) -> None:
        """Raise ConfigError: no file holds a user-defined cell."""
        name = type(self.layers.cells[0]).__name__
        raise ConfigError(f"a run with the cell {name} cannot be exported; give one whose cell is a text")


def sample_masks(shape: tuple[int, int, int], p: float, rng: Rng, like: Tensor) -> Tensor:
    """Return dropout masks [T, B, H] on the device and in the dtype of `like`: 0 with probability `p`, else 1 / (1 - p)."""
    uniform = rand(shape, rng, dim=1, device=like.device, dtype=like.dtype)
    return (uniform >= p).to(like.dtype) / (1.0 - p)


def probe(part: CustomClass, layers: CellLayers) -> None:
    """Run copies of all cells forward and backward for some steps, twice; one that breaks the contract is a ConfigError."""
    for index, module in enumerate(layers.cells):
        cell, finals = copy.deepcopy(module).eval(), []
        input_size, hidden_size = layers.hidden_size if index else layers.input_size, layers.hidden_size
        of = f"x {[PROBE_BATCH, input_size]} and {hidden_size} units"
        for _ in range(2):
            state: Any = None
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.manual_seed(0)
                for step in range(1, 1 + PROBE_STEPS):
                    x = torch.randn(PROBE_BATCH, input_size, requires_grad=True) * 1.0  # no leaf, as in a second layer
                    inputs = x, *_entries(state)
                    before = [tensor.clone() for tensor in inputs]
                    with explaining("cell", part, f"cell(x, state) of {of} at step {step}"):
                        state = cell(x, state)
                    if not all(map(torch.equal, inputs, before)):
                        _refuse(part, f"must not change x and state in place, which other layers read, at step {step}")
                    entries = (state,) if isinstance(state, Tensor) else state
                    if not isinstance(entries, tuple) or not all(isinstance(one, Tensor) for one in entries):
                        names = ", ".join(type(one).__name__ for one in entries) if isinstance(entries, tuple) else ""
                        got = f"({names})" if names else f"a {type(state).__name__}"
                        _refuse(part, f"must return h [B, H] or a tuple of tensors whose first is h, got {got}")
                    shapes = [[*one.shape] for one in entries]
                    if shapes[:1] != [[PROBE_BATCH, hidden_size]]:
                        found = shapes[0] if shapes else "nothing"
                        _refuse(
                            part, f"must return h of shape {[PROBE_BATCH, hidden_size]}, got {found} at step {step}"
                        )
            finals.append(entries)
        if not entries[0].requires_grad:
            _refuse(part, "must return h with a gradient, got one that is detached from x; use torch alone")
        if not all(map(torch.equal, *finals)):
            problem = "got something else for the same x: keep all state in what it returns, and none on self"
            _refuse(part, f"must return what x and state determine, {problem}")
        with explaining("cell", part, f"the gradient of {of}"):
            entries[0].sum().backward()


def _entries(state: Any) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else tuple(state or ())


def _refuse(part: CustomClass, problem: str) -> NoReturn:
    refuse("cell", f"{part.name}: {problem}")
