"""Well-known mistakes in an LSTM: each is the piece with one mistake in it.

Shapes: B batch, T time, I input size, H hidden size, C classes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.checker.pieces import Mistake
from reviver.lstm.cell import LSTMGates, LSTMState, LSTMWeights, lstm_step

Activation = Callable[[Tensor], Tensor]
STEP, NETWORK, TRAIN = "One step in code", "A network around it", "Train it"
EQUATIONS = "The equations"


def wrong_step(
    x: Tensor,
    state: LSTMState,
    w: LSTMWeights,
    *,
    order: str = "ifgo",
    gate: Activation = torch.sigmoid,
    candidate: Activation = torch.tanh,
    squash: Activation = torch.tanh,
    bias: float = 1.0,
    forget_bias: float = 0.0,
    cell: Callable[..., Tensor] = lambda c, i, f, g: f * c + i * g,
    hidden: Callable[..., Tensor] | None = None,
    returned: str = "ifgo",
) -> tuple[LSTMState, LSTMGates]:
    """Compute a step of an LSTM in which something is exchanged; `order` has the equations whose weights i, f, g and o get."""
    h, c = state
    tensors = dict(zip("ifgo", zip(w[:4], w[4:8], w[8:12], strict=True), strict=True))

    def affine(W: Tensor, U: Tensor, b: Tensor | None) -> Tensor:
        assert b is not None
        return functional.linear(x, W) + functional.linear(h, U) + bias * b

    i, f, g, o = (
        activation(affine(*tensors[k]) + extra)
        for k, activation, extra in zip(order, (gate, gate, candidate, gate), (0.0, forget_bias, 0.0, 0.0), strict=True)
    )
    new = cell(c, i, f, g)
    h = o * squash(new) if hidden is None else hidden(c, new, o)
    gates = {"i": i, "f": f, "g": g, "o": o}
    return LSTMState(h, new), LSTMGates(*(gates[k] for k in returned))


def with_weights(change: Callable[[LSTMWeights], LSTMWeights]) -> Callable[..., Any]:
    """Return a step that takes other weights."""
    return lambda x, state, w: lstm_step(x, state, change(w))


def transpose(w: LSTMWeights, which: str) -> LSTMWeights:
    """Return weights with the matrices W or U, or both, transposed."""
    return w._replace(**{name: value.T for name, value in w._asdict().items() if name[0] in which and name != "W_proj"})


def exchange(w: LSTMWeights) -> LSTMWeights:
    """Return weights with W and U exchanged."""
    return LSTMWeights(*w[4:8], *w[:4], *w[8:])


def detached_step(x: Tensor, state: LSTMState, w: LSTMWeights, which: str) -> tuple[LSTMState, LSTMGates]:
    """Compute a step through whose h or c, as `which` says, no gradient flows back."""
    before = {name: value.detach() if name in which else value for name, value in state._asdict().items()}
    return lstm_step(x, LSTMState(**before), w)


def identity(x: Tensor) -> Tensor:
    """Return x."""
    return x


GATES = "Compare the weights of each gate with its equation, letter by letter."
STEP_MISTAKES = (
    *(
        Mistake(f"the {first} and the {second} gate are exchanged", GATES, STEP, partial(wrong_step, order=order))
        for first, second, order in (
            ("input", "forget", "figo"),
            ("forget", "output", "iogf"),
            ("input", "output", "ofgi"),
        )
    ),
    Mistake(
        "i and f are exchanged in the cell state",
        "What does each gate decide: what to write, or what to keep?",
        EQUATIONS,
        partial(wrong_step, cell=lambda c, i, f, g: i * c + f * g),
    ),
    Mistake(
        "the gates have the weights of the order i, f, o, g",
        "Which of the four blocks of weights belongs to the cell candidate?",
        STEP,
        partial(wrong_step, order="ifog"),
    ),
    Mistake(
        "the gates are returned in another order than i, f, g, o",
        "Look at the order of the fields of the gates that you return.",
        STEP,
        partial(wrong_step, returned="ifog"),
    ),
    Mistake(
        "tanh(c) is missing in the hidden state",
        "Read the last equation once more: what does the output gate multiply?",
        EQUATIONS,
        partial(wrong_step, squash=identity),
    ),
    Mistake(
        "the hidden state is computed from the cell state before the step",
        "Which time has c in the last equation?",
        EQUATIONS,
        partial(wrong_step, hidden=lambda old, new, o: o * torch.tanh(old)),
    ),
    Mistake(
        "the output gate is missing",
        "What decides how much of the memory is shown?",
        EQUATIONS,
        partial(wrong_step, hidden=lambda old, new, o: torch.tanh(new)),
    ),
    Mistake(
        "the biases are missing", "Each gate has three terms in its equation.", STEP, partial(wrong_step, bias=0.0)
    ),
    Mistake(
        "the biases are added twice",
        "Each gate has one bias, however many linear layers compute it.",
        STEP,
        partial(wrong_step, bias=2.0),
    ),
    Mistake(
        "the forget bias of 1 is added in the step",
        "The forget bias is a stored value that training changes, and b_f holds it.",
        STEP,
        partial(wrong_step, forget_bias=1.0),
    ),
    Mistake(
        "sigmoid and tanh are exchanged",
        "Between which numbers must a gate lie, and between which the cell candidate?",
        EQUATIONS,
        partial(wrong_step, gate=torch.tanh, candidate=torch.sigmoid),
    ),
    Mistake(
        "the cell candidate has a sigmoid",
        "The memory must be able to fall as well as to rise.",
        EQUATIONS,
        partial(wrong_step, candidate=torch.sigmoid),
    ),
    Mistake(
        "the gates have a tanh",
        "Between which numbers must a gate lie?",
        EQUATIONS,
        partial(wrong_step, gate=torch.tanh),
    ),
    Mistake(
        "W and U are exchanged", "Which matrix multiplies the input, which the state?", STEP, with_weights(exchange)
    ),
    *(
        Mistake(
            f"{name} transposed",
            "The equations multiply a matrix by a column; the code holds a sequence per row.",
            STEP,
            with_weights(partial(transpose, which=which)),
        )
        for name, which in (("U is", "U"), ("W is", "W"), ("W and U are", "WU"))
    ),
    Mistake(
        "c is not carried: the memory is replaced, not added to",
        "What of the memory before the step is in the fifth equation?",
        EQUATIONS,
        partial(wrong_step, cell=lambda c, i, f, g: i * g),
    ),
    Mistake(
        "the forget gate is missing in the cell state",
        "What decides how much of the memory is kept?",
        EQUATIONS,
        partial(wrong_step, cell=lambda c, i, f, g: c + i * g),
    ),
    Mistake(
        "the input gate is missing in the cell state",
        "What decides how much of the new value is written?",
        EQUATIONS,
        partial(wrong_step, cell=lambda c, i, f, g: f * c + g),
    ),
    Mistake(
        "1 - f takes the place of the input gate",
        "An LSTM decides about writing and forgetting by two gates.",
        EQUATIONS,
        partial(wrong_step, cell=lambda c, i, f, g: f * c + (1 - f) * g),
    ),
    Mistake(
        "h and c are returned in the wrong order",
        "Look at the order of the fields of the state that you return.",
        STEP,
        lambda x, state, w: (LSTMState(*reversed(lstm_step(x, state, w)[0])), lstm_step(x, state, w)[1]),
    ),
)
STEP_GRADIENT_MISTAKES = tuple(
    Mistake(
        f"no gradient flows back through {' and '.join(which)}",
        "Look for detach, .data, .item, no_grad or torch.tensor(...) on the way from the state before to the one after.",
        TRAIN,
        partial(detached_step, which=which),
    )
    for which in ("hc", "h", "c")
)
CHANGES_INPUTS = Mistake(
    "the step changes its arguments in place",
    "Which operations change a tensor itself: those with an underscore, +=, or [...] =?",
    STEP,
    lstm_step,
)


def recall(
    x: Tensor,
    w: LSTMWeights,
    W_out: Tensor,
    b_out: Tensor,
    p: float = 0.0,
    *,
    step: Callable[..., Any] = lstm_step,
    steps: Callable[[Tensor], Tensor] = identity,
    carry: Callable[[LSTMState], LSTMState] = lambda state: state,
    read: Callable[[list[LSTMState]], Tensor] = lambda states: states[-1].h,
    final: Activation = identity,
    where: str = "h",
    drop: Callable[[Tensor, float], Tensor] = functional.dropout,
) -> Tensor:
    """Return the logits [B, C] of the digit after the sequences x [B, T, I], with dropout of h at every step if p > 0.

    The other arguments make a mistake: other `steps`, another state that a step hands on, another vector that is read,
    something after the logits; or dropout `where` it does not belong, or of another kind.
    """
    x = steps(x)
    zeros = x.new_zeros(len(x), len(w.W_i))  # [B, H]
    state = LSTMState(zeros, zeros)
    states = [state]
    masks: dict[str, Tensor] = {}
    for x_t in x.unbind(1):  # [B, I]
        h, c = step(drop(x_t, p) if where == "x" else x_t, state, w)[0]
        if where == "mask":  # the same at each step
            h = h * masks.setdefault("h", drop(torch.ones_like(h), p))
        elif where == "hc":
            h, c = drop(h, p), drop(c, p)
        elif where == "c":
            c = drop(c, p)
        shown = h
        if where in ("h", "input"):
            h = drop(h, p)
        states.append(LSTMState(shown if where == "input" else h, c))
        state = carry(LSTMState(h, c))
    last = read(states)
    return final(functional.linear(drop(last, p) if where == "last" else last, W_out, b_out))


def wrong_recall(**changes: Any) -> Callable[..., Tensor]:
    """Return `recall` with a mistake."""
    return partial(recall, **changes)


def reset(state: LSTMState, which: str) -> LSTMState:
    """Return a state of which `which`, h or c, is zero again."""
    return LSTMState(*(torch.zeros_like(v) if name in which else v for name, v in state._asdict().items()))


def detach(state: LSTMState) -> LSTMState:
    """Return a state through which no gradient flows back."""
    return LSTMState(*(value.detach() for value in state))


SEQUENCE_MISTAKES = (
    Mistake(
        "batch and time are mixed up",
        "Which dimension of x does the loop walk along?",
        NETWORK,
        wrong_recall(steps=lambda x: x.transpose(0, 1)),
    ),
    Mistake(
        "batch and time are mixed up by view or reshape",
        "view and reshape keep the order of the numbers; they do not exchange dimensions.",
        NETWORK,
        wrong_recall(steps=lambda x: x.reshape(x.shape[1], x.shape[0], -1).transpose(0, 1)),
    ),
    *(
        Mistake(
            f"{name} at every step",
            "What does a step get from the step before, and where does your loop begin?",
            NETWORK,
            wrong_recall(carry=partial(reset, which=which)),
        )
        for name, which in (
            ("the state is reset", "hc"),
            ("c is not carried but reset", "c"),
            ("h is not carried but reset", "h"),
        )
    ),
    Mistake(
        "the sequence is read backward", "Which digit is the first?", NETWORK, wrong_recall(steps=lambda x: x.flip(1))
    ),
    Mistake(
        "the last step is left out", "Count the rounds of your loop.", NETWORK, wrong_recall(steps=lambda x: x[:, :-1])
    ),
    Mistake(
        "the first step is left out", "Count the rounds of your loop.", NETWORK, wrong_recall(steps=lambda x: x[:, 1:])
    ),
    Mistake(
        "the logits are computed from c",
        "Which of the two vectors is shown to what comes after?",
        NETWORK,
        wrong_recall(read=lambda states: states[-1].c),
    ),
    Mistake(
        "the logits are computed from the mean of h over the steps",
        "From which step does the text take h?",
        NETWORK,
        wrong_recall(read=lambda states: torch.stack([state.h for state in states[1:]]).mean(0)),
    ),
    Mistake(
        "there is a softmax before cross-entropy",
        "cross_entropy takes logits; what does it compute first?",
        TRAIN,
        wrong_recall(final=lambda logits: logits.softmax(1)),
    ),
    Mistake(
        "there is a log_softmax before cross-entropy",
        "cross_entropy takes logits; what does it compute first?",
        TRAIN,
        wrong_recall(final=lambda logits: logits.log_softmax(1)),
    ),
    *(mistake._replace(compute=wrong_recall(step=mistake.compute)) for mistake in STEP_MISTAKES),
)
SEQUENCE_GRADIENT_MISTAKES = (
    Mistake(
        "no gradient flows back from step to step",
        "Look for detach, .data, no_grad or torch.tensor(...) in the loop.",
        TRAIN,
        wrong_recall(carry=detach),
    ),
)


def unscaled(h: Tensor, p: float) -> Tensor:
    """Drop units and do not scale the others."""
    return h * (torch.rand_like(h) >= p)


WHERE = "Which vector does the text drop units of, and when?"
DROPOUT_MISTAKES = (
    Mistake("there is no dropout in training", WHERE, NETWORK, wrong_recall(where="")),
    Mistake("dropout acts on the input x", WHERE, NETWORK, wrong_recall(where="x")),
    Mistake("dropout acts on the cell state c", WHERE, NETWORK, wrong_recall(where="c")),
    Mistake("dropout acts on h and c", WHERE, NETWORK, wrong_recall(where="hc")),
    Mistake("dropout acts once, after the last step", WHERE, NETWORK, wrong_recall(where="last")),
    Mistake("dropout does not act on what the network reads at the end", WHERE, NETWORK, wrong_recall(where="input")),
    Mistake(
        "all steps have the same dropout mask",
        "Where does your code choose the units: in the loop or before it?",
        NETWORK,
        wrong_recall(where="mask"),
    ),
    Mistake(
        "the units that are kept are not scaled",
        "What is the expected value of a unit with dropout, and what without?",
        NETWORK,
        wrong_recall(drop=unscaled),
    ),
    Mistake(
        "p is the probability of keeping a unit, not of dropping it",
        "Which of the two probabilities does torch's dropout take?",
        NETWORK,
        wrong_recall(drop=lambda h, p: functional.dropout(h, 1 - p)),
    ),
)
DROPOUT_IN_EVALUATION = Mistake(
    "dropout acts in evaluation, too",
    "How does functional.dropout learn that the network is in eval mode?",
    NETWORK,
    recall,
)


INPUT_SIZE, HIDDEN_SIZE = 12, 64
"""Sizes of the cell whose initialization is checked."""


class Initial(NamedTuple):
    """What an initialization comes to: standard deviations of W and U, the forget bias and the other biases; None for any."""

    W: float
    U: float
    b_f: float | None = None
    b: float | None = None


def xavier(rows: int, columns: int) -> float:
    """Return the standard deviation of Xavier initialization."""
    return float((2 / (rows + columns)) ** 0.5)


XAVIER = xavier(HIDDEN_SIZE, INPUT_SIZE), xavier(HIDDEN_SIZE, HIDDEN_SIZE)
JOINED_XAVIER = (xavier(HIDDEN_SIZE, INPUT_SIZE + HIDDEN_SIZE),) * 2
"""The same for a matrix that holds W and U of a gate."""
SIZE = "What keeps the size of the signals about the same from step to step?"
INITIAL_MISTAKES = tuple(
    Mistake(name, hint, STEP, partial(Initial, *values))
    for name, hint, values in (
        ("the forget bias is 0", "How much of its value does the cell keep at first?", (*XAVIER, 0.0, 0.0)),
        ("all biases are 1", "Which gate should be open at first?", (*XAVIER, 1.0, 1.0)),
        ("all weights are equal", "If all units begin equal, what will make them differ?", (0.0, 0.0)),
        (
            "the weights are left as nn.Linear makes them",
            SIZE,
            ((3 * INPUT_SIZE) ** -0.5, (3 * HIDDEN_SIZE) ** -0.5),
        ),
        ("the weights are left as nn.LSTM makes them", SIZE, ((3 * HIDDEN_SIZE) ** -0.5,) * 2),
        ("the weights are standard normal", SIZE, (1.0, 1.0)),
        (
            "Xavier takes the stacked matrix of all gates for one",
            "How many units feed one gate, and how many does one gate have?",
            (xavier(4 * HIDDEN_SIZE, INPUT_SIZE), xavier(4 * HIDDEN_SIZE, HIDDEN_SIZE)),
        ),
    )
)


def wrong_update(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    targets: Tensor,
    max_norm: float,
    *,
    order: str = "zero backward clip step",
    clip: Callable[..., Any] = nn.utils.clip_grad_norm_,
    final: Activation = identity,
    sign: float = 1.0,
) -> None:
    """Update a network once, with the parts of an update in an `order`."""
    loss = sign * functional.cross_entropy(final(network(x)), targets)
    for part in order.split():
        match part:
            case "zero":
                optimizer.zero_grad()
            case "backward":
                loss.backward()
            case "clip":
                clip(network.parameters(), max_norm)
            case "step":
                optimizer.step()


CLIP = "When are the gradients there, and when are they used?"
TRAINING_MISTAKES = (
    Mistake(
        "the gradients are not cleared",
        "What does backward do with a gradient that is there already?",
        TRAIN,
        partial(wrong_update, order="backward clip step"),
    ),
    Mistake(
        "the gradient is not clipped before the update",
        CLIP,
        TRAIN,
        partial(wrong_update, order="zero backward step clip"),
    ),
    Mistake(
        "each entry of the gradient is clipped, not its norm",
        "Clipping should keep the direction of the gradient.",
        TRAIN,
        partial(wrong_update, clip=nn.utils.clip_grad_value_),
    ),
    Mistake(
        "there is a softmax before cross-entropy",
        "cross_entropy takes logits; what does it compute first?",
        TRAIN,
        partial(wrong_update, final=lambda logits: logits.softmax(1)),
    ),
    Mistake(
        "the loss rises",
        "Which sign has the loss that an optimizer minimizes?",
        TRAIN,
        partial(wrong_update, sign=-1.0),
    ),
    Mistake(
        "the weights do not change",
        "What changes the weights, and is the gradient still there then?",
        TRAIN,
        partial(wrong_update, order="zero backward clip"),
    ),
)
