"""Well-known mistakes in an LSTM: each is the piece with one mistake in it.

Shapes: B batch, T time, I input size, H hidden size, C classes.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.checker.pieces import Hint, Mistake, table
from reviver.lstm.cell import LSTMGates, LSTMState, LSTMWeights, lstm_step

STEP, NETWORK, TRAIN, EQUATIONS = "One step in code", "A network around it", "Train it", "The equations"
GATES = Hint(STEP, "Compare each line of your code with its equation, letter by letter.")
ORDER = Hint(STEP, "Look at the order of what you return.")
SHOWN = Hint(EQUATIONS, "Read the last equation once more: what does the output gate multiply?")
MEMORY = Hint(EQUATIONS, "Read the fifth equation once more: what decides about keeping, and what about writing?")
RANGE = Hint(EQUATIONS, "Between which numbers must a gate lie, and between which the cell candidate?")
BIAS = Hint(STEP, "Each gate has one bias; the forget bias is a stored value that training changes.")
ROWS = Hint(
    STEP, "Which tensors depend on the number of examples? Give batch and units different sizes and print the shapes."
)
MATRIX = Hint(STEP, "Which matrix multiplies what? The equations multiply a column, the code a sequence per row.")
IN_PLACE = Hint(STEP, "Which operations change a tensor itself: those with an underscore, +=, or [...] =?")
DETACH = Hint(TRAIN, "Look for detach, .data, .item, no_grad or torch.tensor(...) on the way from step to step.")
TIME = Hint(NETWORK, "Which dimension of x does the loop walk along? view and reshape do not exchange dimensions.")
CARRY = Hint(NETWORK, "What does a step get from the step before, and where does your loop begin?")
ROUNDS = Hint(NETWORK, "Count the rounds of your loop: which digit is read first, and which last?")
READ = Hint(NETWORK, "From which vector, and of which step, does the text compute the logits?")
SOFTMAX = Hint(TRAIN, "cross_entropy takes logits; what does it compute first?")
CLASSES = Hint(TRAIN, "Along which dimension do the probabilities of a sequence add up to 1?")
WHERE = Hint(NETWORK, "Of which vector does the text drop units, when, and in which mode?")
MASK = Hint(NETWORK, "Does your code choose the units in the loop or before it?")
SCALE = Hint(NETWORK, "What is the expected value of a unit with dropout, and what without?")
KEEP = Hint(STEP, "Which gate should be open at first, and how far?")
EQUAL = Hint(STEP, "If all units begin equal, what will make them differ?")
SIZE = Hint(STEP, "What keeps the size of the signals about the same from step to step, each matrix by itself?")
CLEAR = Hint(TRAIN, "What does backward do with a gradient that is there already?")
CLIP = Hint(TRAIN, "When is the gradient there, when is it used, and what should clipping keep of it?")
SIGN = Hint(TRAIN, "Which sign has the loss that an optimizer minimizes?")


def wrong_step(
    x: Tensor,
    state: LSTMState,
    w: LSTMWeights,
    *,
    weights: Callable[[LSTMWeights], LSTMWeights] = lambda w: w,
    before: Callable[[LSTMState], LSTMState] = lambda state: state,
    after: Callable[[LSTMState], LSTMState] = lambda state: state,
    order: str = "ifgo",
    gate: Callable[[Tensor], Tensor] = torch.sigmoid,
    candidate: Callable[[Tensor], Tensor] = torch.tanh,
    bias: float = 1.0,
    forget_bias: float = 0.0,
    is_bias_per_row: bool = False,
    cell: Callable[..., Tensor] = lambda c, i, f, g: f * c + i * g,
    hidden: Callable[..., Tensor] = lambda old, new, o: o * torch.tanh(new),
    returned: str = "ifgo",
) -> tuple[LSTMState, LSTMGates]:
    """Compute a step of an LSTM in which something is exchanged; `order` has the equations whose weights i, f, g and o get."""
    w, state = weights(w), before(state)
    tensors = dict(zip("ifgo", zip(w[:4], w[4:8], w[8:12], strict=True), strict=True))

    def affine(W: Tensor, U: Tensor, b: Tensor | None) -> Tensor:
        assert b is not None
        return functional.linear(x, W) + functional.linear(state.h, U) + bias * (b[:, None] if is_bias_per_row else b)

    z_i, z_f, z_g, z_o = (affine(*tensors[name]) for name in order)
    gates = {"i": gate(z_i), "f": gate(z_f + forget_bias), "g": candidate(z_g), "o": gate(z_o)}
    c = cell(state.c, gates["i"], gates["f"], gates["g"])
    return after(LSTMState(hidden(state.c, c, gates["o"]), c)), LSTMGates(*(gates[name] for name in returned))


def changed(of: str, change: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
    """Return a function that changes the tensors of a state, or of weights, whose names begin with a letter in `of`."""
    return lambda tensors: tensors._replace(
        **{name: change(value) for name, value in tensors._asdict().items() if name[0] in of and value is not None}
    )


def borrow(w: LSTMWeights, *, to: str, of: str, kinds: str) -> LSTMWeights:
    """Return weights in which gates have those of another."""
    return w._replace(**{f"{kind}_{gate}": getattr(w, f"{kind}_{of}") for kind in kinds for gate in to})


step, transposed = partial(partial, wrong_step), partial(changed, change=torch.t)
reset, detached = (partial(changed, change=change) for change in (torch.zeros_like, torch.detach))
STEP_MISTAKES = table(
    ("the input and the forget gate are exchanged", GATES, step(order="figo")),
    ("the forget and the output gate are exchanged", GATES, step(order="iogf")),
    ("the input and the output gate are exchanged", GATES, step(order="ofgi")),
    ("the gates have the weights of the order i, f, o, g", GATES, step(order="ifog")),
    ("i and f are exchanged in the cell state", MEMORY, step(cell=lambda c, i, f, g: i * c + f * g)),
    ("the gates are returned in another order than i, f, g, o", ORDER, step(returned="ifog")),
    ("h and c are returned in the wrong order", ORDER, step(after=lambda state: LSTMState(*state[::-1]))),
    ("tanh(c) is missing in the hidden state", SHOWN, step(hidden=lambda old, new, o: o * new)),
    ("h is computed from c before the step", SHOWN, step(hidden=lambda old, new, o: o * torch.tanh(old))),
    ("the output gate is missing", SHOWN, step(hidden=lambda old, new, o: torch.tanh(new))),
    ("the biases are missing", BIAS, step(bias=0.0)),
    ("the biases are added twice", BIAS, step(bias=2.0)),
    ("the forget bias of 1 is added in the step", BIAS, step(forget_bias=1.0)),
    ("sigmoid and tanh are exchanged", RANGE, step(gate=torch.tanh, candidate=torch.sigmoid)),
    ("the cell candidate has a sigmoid", RANGE, step(candidate=torch.sigmoid)),
    ("the gates have a tanh", RANGE, step(gate=torch.tanh)),
    ("W and U are exchanged", MATRIX, step(weights=lambda w: LSTMWeights(*w[4:8], *w[:4], *w[8:]))),
    ("U is transposed", MATRIX, step(weights=transposed("U"))),
    ("W is transposed", MATRIX, step(weights=transposed("W"))),
    ("W and U are transposed", MATRIX, step(weights=transposed("WU"))),
    ("c is not carried: the memory is replaced, not added to", MEMORY, step(cell=lambda c, i, f, g: i * g)),
    ("the forget gate is missing in the cell state", MEMORY, step(cell=lambda c, i, f, g: c + i * g)),
    ("the input gate is missing in the cell state", MEMORY, step(cell=lambda c, i, f, g: f * c + g)),
    ("1 - f takes the place of the input gate", MEMORY, step(cell=lambda c, i, f, g: f * c + (1 - f) * g)),
    (
        "the output gate is added to tanh(c), not multiplied",
        SHOWN,
        step(hidden=lambda old, new, o: o + torch.tanh(new)),
    ),
    ("the cell candidate has no tanh", RANGE, step(candidate=torch.clone)),
    ("the gates and the cell candidate have no sigmoid and tanh", RANGE, step(gate=torch.clone, candidate=torch.clone)),
    *(("all gates have one bias", BIAS, step(weights=partial(borrow, to="ifco", of=of, kinds="b"))) for of in "ifco"),
)
BORROWED = table(
    *(
        (f"the gate {to} has {text} of {of}", GATES, step(weights=partial(borrow, to=to, of=of, kinds=kinds)))
        for kinds, text in (("WUb", "the weights"), ("W", "W"), ("U", "U"), ("b", "the bias"))
        for to, of in itertools.permutations("ifco", 2)
    ),
    *(
        (
            f"the gates {a} and {b} have {text} of {of}",
            GATES,
            step(weights=partial(borrow, to=a + b, of=of, kinds=kinds)),
        )
        for kinds, text in (("WUb", "the weights"), ("b", "the bias"))
        for a, b in itertools.combinations("ifco", 2)
        for of in "ifco"
        if of not in (a, b)
    ),
)
BIAS_PER_ROW = Mistake(
    "the bias is added along the batch, not along the units",
    ROWS.text,
    ROWS.section,
    partial(wrong_step, is_bias_per_row=True),
)
(BIAS_PER_EXAMPLE,) = table(("each example has a bias of its own", ROWS, lstm_step))
(ONLY_EQUAL,) = table(("it works only if batch and units are equal", ROWS, lstm_step))
STEP_GRADIENT_MISTAKES = table(
    ("no gradient flows back through h and c", DETACH, step(before=detached("hc"))),
    ("no gradient flows back through h", DETACH, step(before=detached("h"))),
    ("no gradient flows back through c", DETACH, step(before=detached("c"))),
)
(CHANGES_INPUTS,) = table(("the step changes its arguments in place", IN_PLACE, lstm_step))


def recall(
    x: Tensor,
    w: LSTMWeights,
    W_out: Tensor,
    b_out: Tensor,
    p: float = 0.0,
    *,
    step: Callable[..., Any] = lstm_step,
    steps: Callable[[Tensor], Tensor] = lambda x: x,
    carry: Callable[..., LSTMState] = lambda state: state,
    read: Callable[[list[LSTMState]], Tensor] = lambda states: states[-1].h,
    final: Callable[[Tensor], Tensor] = lambda logits: logits,
    where: str = "h",
    drop: Callable[[Tensor, float], Tensor] = functional.dropout,
) -> Tensor:
    """Return the logits [B, C] of the digit after the sequences x [B, T, I], with dropout of h at every step if p > 0.

    The other arguments make a mistake: another `step`, other `steps`, another state that a step hands on, another vector that
    is read, something after the logits; or dropout `where` it does not belong, or of another kind.
    """
    x = steps(x)
    zeros = x.new_zeros(len(x), len(w.W_i))  # [B, H]
    state, mask = LSTMState(zeros, zeros), drop(torch.ones_like(zeros), p)
    states = [state]
    for x_t in x.unbind(1):  # [B, I]
        h, c = step(drop(x_t, p) if where == "x" else x_t, carry(state), w)[0]
        dropped = h * mask if where == "mask" else drop(h, p) if where in ("h", "hc", "carried") else h
        state = LSTMState(dropped, drop(c, p) if where in ("c", "hc") else c)
        states.append(state._replace(h=h) if where == "carried" else state)
    last = read(states)
    return final(functional.linear(drop(last, p) if where == "last" else last, W_out, b_out))


network = partial(partial, recall)
SEQUENCE_MISTAKES = table(
    ("batch and time are mixed up", TIME, network(steps=lambda x: x.transpose(0, 1))),
    (
        "batch and time are mixed up by view or reshape",
        TIME,
        network(steps=lambda x: x.reshape(x.shape[1], x.shape[0], -1).transpose(0, 1)),
    ),
    ("the state is reset at every step", CARRY, network(carry=reset("hc"))),
    ("c is not carried but reset at every step", CARRY, network(carry=reset("c"))),
    ("h is not carried but reset at every step", CARRY, network(carry=reset("h"))),
    ("the sequence is read backward", ROUNDS, network(steps=lambda x: x.flip(1))),
    ("the last step is left out", ROUNDS, network(steps=lambda x: x[:, :-1])),
    ("the first step is left out", ROUNDS, network(steps=lambda x: x[:, 1:])),
    ("the logits are computed from c", READ, network(read=lambda states: states[-1].c)),
    (
        "the logits are the mean over the steps",
        READ,
        network(read=lambda all_: sum(s.h for s in all_) / (len(all_) - 1)),
    ),
    ("there is a softmax before cross-entropy", SOFTMAX, network(final=lambda logits: logits.softmax(1))),
    ("there is a log_softmax before cross-entropy", SOFTMAX, network(final=lambda logits: logits.log_softmax(1))),
    ("the softmax is taken over the batch", CLASSES, network(final=lambda logits: logits.softmax(0))),
    ("the softmax is taken over the batch", CLASSES, network(final=lambda logits: logits.log_softmax(0))),
    *((name, Hint(section, hint), network(step=compute)) for name, hint, section, compute in STEP_MISTAKES),
)
BORROWED_IN_SEQUENCE = tuple(each._replace(compute=network(step=each.compute)) for each in BORROWED)
(ALONG_BATCH,) = (BIAS_PER_ROW._replace(compute=network(step=BIAS_PER_ROW.compute)),)
(RANDOM_STATE, NEVER_RESET) = table(
    ("the initial state is random", CARRY, recall),
    ("the state is never reset: a batch begins where the one before ended", CARRY, recall),
)
SEQUENCE_GRADIENT_MISTAKES = table(
    ("h is detached before the output", DETACH, network(read=lambda states: states[-1].h.detach())),
    ("no gradient flows back from step to step", DETACH, network(carry=detached("hc"))),
)
DROPOUT_MISTAKES = table(
    ("there is no dropout in training", WHERE, network(where="")),
    ("dropout acts on the input x", WHERE, network(where="x")),
    ("dropout acts on the cell state c", WHERE, network(where="c")),
    ("dropout acts on h and c", WHERE, network(where="hc")),
    ("dropout acts once, after the last step", WHERE, network(where="last")),
    ("dropout does not act on what the network reads at the end", WHERE, network(where="carried")),
    ("all steps have the same dropout mask", MASK, network(where="mask")),
    ("the units that are kept are not scaled", SCALE, network(drop=lambda h, p: h * (torch.rand_like(h) >= p))),
    ("p is the probability of keeping a unit", SCALE, network(drop=lambda h, p: functional.dropout(h, 1 - p))),
)
(DROPOUT_IN_EVALUATION,) = table(("dropout acts in evaluation, too", WHERE, recall))

INPUT_SIZE, HIDDEN_SIZE = 12, 64
"""Sizes of the cell whose initialization is checked."""


class Initial(NamedTuple):
    """What an initialization comes to: standard deviations of W and U, the forget bias and the other biases; None for any."""

    W: float
    U: float
    b_f: float | None = None
    b: float | None = None


def xavier(rows: int, *columns: int) -> tuple[float, ...]:
    """Return the standard deviations of Xavier initialization."""
    return tuple(float((2 / (rows + num)) ** 0.5) for num in columns)


XAVIER = Initial(*xavier(HIDDEN_SIZE, INPUT_SIZE, HIDDEN_SIZE), b_f=1.0, b=0.0)  # type: ignore[misc]
JOINED_XAVIER = Initial(*xavier(HIDDEN_SIZE, *[INPUT_SIZE + HIDDEN_SIZE] * 2), b_f=1.0, b=0.0)  # type: ignore[misc]
"""The same for a matrix that holds W and U of a gate."""
initial = partial(partial, Initial)
INITIAL_MISTAKES = table(
    ("the forget bias is 0", KEEP, initial(*XAVIER._replace(b_f=0.0))),
    ("all biases are 1", KEEP, initial(*XAVIER._replace(b=1.0))),
    ("all weights are equal", EQUAL, initial(0.0, 0.0)),
    (
        "the weights are left as nn.Linear makes them",
        SIZE,
        initial((3 * INPUT_SIZE) ** -0.5, (3 * HIDDEN_SIZE) ** -0.5),
    ),
    ("the weights are left as nn.LSTM makes them", SIZE, initial(*[(3 * HIDDEN_SIZE) ** -0.5] * 2)),
    ("the weights are standard normal", SIZE, initial(1.0, 1.0)),
    ("Xavier takes all gates for one matrix", SIZE, initial(*xavier(4 * HIDDEN_SIZE, INPUT_SIZE, HIDDEN_SIZE))),
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
    final: Callable[[Tensor], Tensor] = lambda logits: logits,
    sign: float = 1.0,
) -> None:
    """Update a network once, with the parts of an update in an `order`."""
    loss = sign * functional.cross_entropy(final(network(x)), targets)
    parts: dict[str, Callable[[], Any]] = {
        "zero": optimizer.zero_grad,
        "backward": loss.backward,
        "step": optimizer.step,
    }
    parts["clip"] = lambda: clip(network.parameters(), max_norm)
    for part in order.split():
        parts[part]()


update = partial(partial, wrong_update)
TRAINING_MISTAKES = table(
    ("the gradients are not cleared", CLEAR, update(order="backward clip step")),
    ("the weights do not change", CLIP, update(order="zero backward clip")),
    ("the gradient is not clipped before the update", CLIP, update(order="zero backward step clip")),
    ("each entry of the gradient is clipped, not its norm", CLIP, update(clip=nn.utils.clip_grad_value_)),
    ("there is a softmax before cross-entropy", SOFTMAX, update(final=lambda logits: logits.softmax(1))),
    ("the loss rises", SIGN, update(sign=-1.0)),
)
READ_MISTAKES = table(("the gradients are cleared before the step", CLEAR, update(order="backward zero step")))
