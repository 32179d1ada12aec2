"""Well-known mistakes in an LSTM: each is an edit of the piece as it is right, and one mistake may be edited into another.

Shapes: B batch, T time, I input size, H hidden size, C classes.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reviver.checker.compare import Program
from reviver.checker.pieces import Hint, Mistake, table

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
SET = Hint(NETWORK, "Which line of __init__ sets the attribute, and does it stand before the line that reads it?")
INDENT = Hint(NETWORK, "How far is `def forward` indented, and whose function does that make it?")
DEFINED = Hint(NETWORK, "Is the name an argument of this method, or does it belong behind self?")
STORED = Hint(
    NETWORK, "What do network.parameters() return? Parameter(...).float() or .to(device) may be another tensor."
)
IN_PLACE = Hint(STEP, "Which operations change a tensor itself: those with an underscore, +=, or [...] =?")
DETACH = Hint(TRAIN, "Look for detach, .data, .item, no_grad or torch.tensor(...) on the way from step to step.")
TIME = Hint(NETWORK, "Which dimension of x does the loop walk along? view and reshape do not exchange dimensions.")
CARRY = Hint(NETWORK, "What does a step get from the step before, and where does your loop begin?")
ROUNDS = Hint(NETWORK, "Count the rounds of your loop: which digit is read first, and which last?")
AGAIN = Hint(NETWORK, "Which names does your loop need again in its next round, and does one of its lines set them?")
GIVEN = Hint(NETWORK, "Call it once with a state: what does `if` make of a tensor, and where are h and c set then?")
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
CUT = Hint(TRAIN, "Whose parameters has the optimizer, and is every step from them to the loss one that autograd sees?")
BATCHES = Hint(TRAIN, "How many updates does an epoch make?")
SIGN = Hint(TRAIN, "Which sign has the loss that an optimizer minimizes?")

step = Program("""
def lstm_step(x, state, w):
    W_i, W_f, W_c, W_o, U_i, U_f, U_c, U_o, b_i, b_f, b_c, b_o, _ = w
    h, c = state
    def z(W, U, b): return x @ W.T + h @ U.T + b
    i = sigmoid(z(W_i, U_i, b_i))
    f = sigmoid(z(W_f, U_f, b_f))
    g = tanh(z(W_c, U_c, b_c))
    o = sigmoid(z(W_o, U_o, b_o))
    c = f * c + i * g
    h = o * tanh(c)
    return (h, c), (i, f, g, o)
""")
recall = Program(f"""{step.text}
def recall(x, w, W_out, b_out, p=0.0, state=None):
    state = h, c = x.new_zeros(2, len(x), len(w[0])) if state is None else state
    for x_t in x.unbind(1):
        (h, c), _ = lstm_step(x_t, state, w)
        last = h
        h = dropout(h, p)
        state = h, c
    logits = h @ W_out.T + b_out
    return logits
""")
"""The logits [B, C] after sequences x [B, T, I], with dropout of h at every step if p > 0."""
update = Program("""
def update(network, optimizer, x, targets, max_norm):
    loss = cross_entropy(network(x), targets)
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm_(network.parameters(), max_norm)
    optimizer.step()
""")


def weights(gate: str, of: str = "", kinds: str = "WUb") -> str:
    """Return the weights of a gate in `step`, those of some kinds from another gate."""
    return f"({', '.join(f'{kind}_{of if of and kind in kinds else gate}' for kind in 'WUb')})"


def borrow(to: Iterable[str], of: str, kinds: str = "WUb") -> str:
    """Return the edit by which gates have weights of another."""
    return " && ".join(f"{weights(gate)} -> {weights(gate, of, kinds)}" for gate in to if gate != of)


def exchange(a: str, b: str) -> str:
    """Return the edit by which two gates have each other's weights."""
    return f"{weights(a)} -> (A) && {borrow(b, a)} && (A) -> {weights(b)}"


STEP_MISTAKES = table(
    ("the input and the forget gate are exchanged", GATES, exchange("i", "f")),
    ("the forget and the output gate are exchanged", GATES, exchange("f", "o")),
    ("the input and the output gate are exchanged", GATES, exchange("i", "o")),
    ("the gates have the weights of the order i, f, o, g", GATES, exchange("c", "o")),
    ("i and f are exchanged in the cell state", MEMORY, "f * c + i * g -> i * c + f * g"),
    ("the gates are returned in another order than i, f, g, o", ORDER, "(i, f, g, o) -> (i, f, o, g)"),
    ("h and c are returned in the wrong order", ORDER, "return (h, c) -> return (c, h)"),
    ("tanh(c) is missing in the hidden state", SHOWN, "o * tanh(c) -> o * c"),
    ("h is computed from c before the step", SHOWN, "o * tanh(c) -> o * tanh(state[1])"),
    ("the output gate stands inside the tanh", SHOWN, "o * tanh(c) -> tanh(o * c)"),
    ("the output gate is missing", SHOWN, "o * tanh(c) -> tanh(c)"),
    ("the biases are missing", BIAS, " + b\n -> \n"),
    ("the biases are added twice", BIAS, " + b\n ->  + 2 * b\n"),
    ("the forget bias of 1 is added in the step", BIAS, "f = sigmoid( -> f = sigmoid(1 + "),
    ("sigmoid and tanh are exchanged", RANGE, "sigmoid(z -> S(z && tanh(z -> sigmoid(z && S(z -> tanh(z"),
    ("the cell candidate has a sigmoid", RANGE, "tanh(z -> sigmoid(z"),
    (
        "the cell candidate has a sigmoid inside its tanh",
        RANGE,
        "tanh(z(W_c, U_c, b_c)) -> tanh(sigmoid(z(W_c, U_c, b_c)))",
    ),
    ("the cell candidate has two tanh", RANGE, "tanh(z(W_c, U_c, b_c)) -> tanh(tanh(z(W_c, U_c, b_c)))"),
    ("the cell candidate has a relu", RANGE, "tanh(z -> relu(z"),
    ("the gates have a tanh", RANGE, "sigmoid( -> tanh("),
    *((f"the gate {gate} has a tanh", RANGE, f"{gate} = sigmoid( -> {gate} = tanh(") for gate in "ifo"),
    ("W and U are exchanged", MATRIX, "z(W, U, b) -> z(U, W, b)"),
    ("U is transposed", MATRIX, "U.T -> U"),
    ("W is transposed", MATRIX, "W.T -> W"),
    ("W and U are transposed", MATRIX, "W.T -> W && U.T -> U"),
    ("c is not carried: the memory is replaced, not added to", MEMORY, "f * c + i * g -> i * g"),
    ("the forget gate is missing in the cell state", MEMORY, "f * c + i * g -> c + i * g"),
    ("the input gate is missing in the cell state", MEMORY, "f * c + i * g -> f * c + g"),
    ("1 - f takes the place of the input gate", MEMORY, "f * c + i * g -> f * c + (1 - f) * g"),
    ("the output gate is added to tanh(c), not multiplied", SHOWN, "o * tanh(c) -> o + tanh(c)"),
    ("the cell candidate has no tanh", RANGE, "tanh(z -> (z"),
    ("the gates and the cell candidate have no sigmoid and tanh", RANGE, "sigmoid(z -> (z && tanh(z -> (z"),
    ("all gates have the same weights", GATES, borrow("fco", "i")),
    *(("all gates have one bias", BIAS, borrow("ifco", of, "b")) for of in "ifco"),
)
KINDS = {"WUb": "the weights", "WU": "W and U", "W": "W", "U": "U", "b": "the bias"}
BORROWED = table(
    *(
        (f"the {verb.format(*gates)} {KINDS[kinds]} of {of}", GATES, borrow(gates, of, kinds))
        for number, verb in ((1, "gate {} has"), (2, "gates {} and {} have"))
        for kinds in KINDS
        for of in "ifco"
        for gates in itertools.combinations("ifco".replace(of, ""), number)
    )
)
BIAS_PER_ROW = Mistake(
    "the bias is added along the batch, not along the units", ROWS, "U.T + b\n -> U.T + b[:, None]\n"
)
BIAS_PER_EXAMPLE = Mistake("each example has a bias of its own", ROWS)
NO_PARAMETERS = Mistake("the weights are no parameters, so that no optimizer can change them", STORED)
SHARED_WEIGHT = Mistake("two gates have a weight in common", GATES)
SHARED_STATE = Mistake("the layers share one state", CARRY)
GATE_SHOWN = Mistake("the result is taken from the output gate, not from h", SHOWN)
UNINITIALIZED = Mistake("the state begins with uninitialized memory", CARRY)
UNFILLED = Mistake(
    "weights are memory that nothing fills",
    Hint(NETWORK, "What stands in torch.Tensor(n, m) before anything is written to it?"),
)
INNER_FORWARD = Mistake("forward is defined inside __init__", INDENT)
NOT_SET = Mistake("an attribute is read before it is set", SET)
LOST = Mistake("the loop overwrites its index, or the sequence that it reads", AGAIN)
NOT_DEFINED = Mistake("a name is used that nothing defines", DEFINED)
MISSPELT = Mistake("a method of super() does not exist", DEFINED)
NOT_CALLED = Mistake("a function is called with other arguments than it takes", DEFINED)
NOT_BUILT = Mistake("a class is built with other arguments than it takes", DEFINED)
MIXED = Mistake("one sequence of a batch changes the results of the others", TIME)
ONLY_EQUAL = {
    key: Mistake(f"it works only if {name} and units are equal", ROWS)
    for key, name in (("B", "batch"), ("I", "inputs"))
}
LEAF = "a leaf Variable that requires grad"
"""Words of torch's error."""
CHANGED_LEAF = Mistake("a parameter is changed in place while gradients are recorded", IN_PLACE)
OVERWRITTEN = Mistake("what backward needs is overwritten in place", IN_PLACE)
CHANGES_INPUTS = Mistake("the step changes its arguments in place", IN_PLACE)
STEP_GRADIENT_MISTAKES = table(
    ("no gradient flows back through h and c", DETACH, "h, c = state -> h, c = state[0].detach(), state[1].detach()"),
    ("no gradient flows back through h", DETACH, "h, c = state -> h, c = state[0].detach(), state[1]"),
    ("no gradient flows back through c", DETACH, "h, c = state -> h, c = state[0], state[1].detach()"),
)
LEFT_OUT = Mistake("the last step is left out", ROUNDS, ".unbind(1) -> .unbind(1)[:-1]")
LAST = "logits = h -> logits = "
SEQUENCE_MISTAKES = table(
    ("batch and time are mixed up", TIME, "state = h, c = -> x = x.transpose(0, 1); state = h, c ="),
    (
        "batch and time are mixed up by view or reshape",
        TIME,
        "state = h, c = -> x = x.reshape(x.shape[1], x.shape[0], -1).transpose(0, 1); state = h, c =",
    ),
    *(
        (f"{name} 1 before the first step, not 0", CARRY, f"w[0])) if -> w[0])) + tensor([[[{h}]], [[{c}]]]) if")
        for name, h, c in (("c is", 0.0, 1.0), ("h is", 1.0, 0.0), ("h and c are", 1.0, 1.0))
    ),
    ("the state is reset at every step", CARRY, "(x_t, state, w) -> (x_t, (0 * h, 0 * c), w)"),
    ("c is not carried but reset at every step", CARRY, "(x_t, state, w) -> (x_t, (h, 0 * c), w)"),
    ("h is not carried but reset at every step", CARRY, "(x_t, state, w) -> (x_t, (0 * h, c), w)"),
    (
        "the output gate is returned, not h",
        READ,
        f"(h, c), _ = lstm_step -> (h, c), (*_, o) = lstm_step && {LAST}o",
    ),
    ("the sequence is read backward", ROUNDS, "in x. -> in x.flip(1)."),
    LEFT_OUT,
    ("the first step is left out", ROUNDS, ".unbind(1) -> .unbind(1)[1:]"),
    ("the logits are those of the first step", READ, ".unbind(1) -> .unbind(1)[:1]"),
    ("the logits are computed from c", READ, f"{LAST}c"),
    (
        "the logits are the mean over the steps",
        READ,
        f"for x_t -> m = 0\n    for x_t && last = -> m = m + && {LAST}m / len(x[0])",
    ),
    ("there is a softmax before cross-entropy", SOFTMAX, "return logits -> return logits.softmax(1)"),
    ("there is a log_softmax before cross-entropy", SOFTMAX, "return logits -> return logits.log_softmax(1)"),
    ("the softmax is taken over the batch", CLASSES, "return logits -> return logits.softmax(0)"),
    ("the softmax is taken over the batch", CLASSES, "return logits -> return logits.log_softmax(0)"),
    *STEP_MISTAKES,
)
RESET = SEQUENCE_MISTAKES[5]
RANDOM_STATE = Mistake("the initial state is random", CARRY)
STATE_UNUSABLE = Mistake("a state that is given cannot be used", GIVEN)
NEVER_RESET = Mistake("the state is never reset: a batch begins where the one before ended", CARRY)
SEQUENCE_GRADIENT_MISTAKES = table(
    ("h is detached before the output", DETACH, f"{LAST}h.detach()"),
    ("h of the first step is detached", DETACH, f"{LAST}(h.detach() if len(x[0]) == 1 else h)"),
    ("no gradient flows back from step to step", DETACH, "state = h, c\n -> state = h.detach(), c.detach()\n"),
    ("no gradient flows back through h", DETACH, "state = h, c\n -> state = h.detach(), c\n"),
    ("no gradient flows back through c", DETACH, "state = h, c\n -> state = h, c.detach()\n"),
)
DROP = "h = dropout(h, p) -> "
DROPOUT_MISTAKES = table(
    ("there is no dropout in training", WHERE, f"{DROP}pass"),
    ("dropout acts on the input x", WHERE, f"{DROP}pass && (x_t, -> (dropout(x_t, p),"),
    ("dropout acts on the cell state c", WHERE, f"{DROP}c = dropout(c, p)"),
    ("dropout acts on h and c", WHERE, f"{DROP}h, c = dropout(h, p), dropout(c, p)"),
    ("dropout acts once, after the last step", WHERE, f"{DROP}pass && {LAST}dropout(h, p)"),
    ("dropout does not act on what the network reads at the end", WHERE, f"{LAST}last"),
    ("all steps have the same dropout mask", MASK, f"for x_t -> m = dropout(h + 1, p)\n    for x_t && {DROP}h = h * m"),
    ("the units that are kept are not scaled", SCALE, f"{DROP}h = h * (rand_like(h) >= p)"),
    ("p is the probability of keeping a unit", SCALE, f"{DROP}h = dropout(h, 1 - p)"),
)
DROPOUT_IN_EVALUATION = Mistake("dropout acts in evaluation, too", WHERE)

I, H = 12, 64  # noqa: E741
"""Input and hidden size of the cell whose initialization is checked."""


class Initial(NamedTuple):
    """What an initialization comes to: standard deviations of W and U, the forget bias and the other biases; None for any."""

    W: Any
    U: Any
    b_f: Any = None
    b: Any = None

    @classmethod
    def of(cls, w: Mapping[str, Tensor]) -> "Initial":
        """Return what weights come to, for each gate."""
        W, U = (torch.stack([w[f"{kind}_{gate}"].std() for gate in "ifco"]) for kind in "WU")
        return cls(W, U, w["b_f"], torch.cat([w[f"b_{gate}"] for gate in "ico"]))

    def is_close(self, other: "Initial") -> bool:
        """Return whether these weights are those of another, standard deviations up to 13 % of chance."""
        pairs = zip(self, other, (0.13, 0.13, 0, 0), strict=True)
        return all(b is None or bool(((a - b).abs() <= 1e-6 + rtol * b).all()) for a, b, rtol in pairs)


def xavier(rows: int, *columns: int) -> Initial:
    """Return what Xavier initialization of matrices comes to."""
    return Initial(*((2 / (rows + number)) ** 0.5 for number in columns))


XAVIER = xavier(H, I, H)._replace(b_f=1.0, b=0.0)
JOINED_XAVIER = xavier(H, I + H, I + H)._replace(b_f=1.0, b=0.0)
"""The same for a matrix that holds W and U of a gate."""
INITIAL_MISTAKES = table(
    ("the forget bias is 0", KEEP, XAVIER._replace(b_f=0.0)),
    ("all biases are 1", KEEP, XAVIER._replace(b=1.0)),
    ("all weights are equal", EQUAL, Initial(0.0, 0.0)),
    ("the weights are left as nn.Linear makes them", SIZE, Initial((3 * I) ** -0.5, (3 * H) ** -0.5)),
    ("the weights are left as nn.LSTM makes them", SIZE, Initial((3 * H) ** -0.5, (3 * H) ** -0.5)),
    ("the weights are standard normal", SIZE, Initial(1.0, 1.0)),
    ("Xavier takes all gates for one matrix", SIZE, xavier(4 * H, I, H)),
)
CLEARED = "optimizer.zero_grad() -> pass"
NOT_CLEARED = Mistake("the gradients are not cleared", CLEAR, CLEARED)
CLEARED_EARLY = Mistake("the gradients are cleared before the step", CLEAR)
BROADCAST = Mistake(
    "the loss compares each answer with each target", Hint(TRAIN, "Which shapes have the answers and the targets?")
)
NOT_HELD = Mistake("the optimizer has not all weights of the network", STORED)
NO_GRADIENT = Mistake("the loss does not reach the parameters of the optimizer", CUT)
ENDS = Mistake("only the first batch is used", BATCHES)
NOT_CLIPPED = Mistake(
    "the gradient is not clipped before the update", CLIP, "clip_grad_norm_(network.parameters(), max_norm) -> pass"
)
TRAINING_MISTAKES = (
    NOT_CLEARED,
    NOT_CLIPPED,
    *table(
        ("the weights do not change", CLIP, "optimizer.step() -> pass"),
        ("each entry of the gradient is clipped, not its norm", CLIP, "clip_grad_norm_ -> clip_grad_value_"),
        ("there is a softmax before cross-entropy", SOFTMAX, "network(x), -> network(x).softmax(1),"),
        ("the loss rises", SIGN, "loss.backward() -> (-loss).backward()"),
    ),
)
