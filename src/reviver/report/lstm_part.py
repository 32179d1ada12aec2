"""Section 1 of the report: the LSTM."""

import math

from reviver.lstm.evaluation import CHANCE
from reviver.lstm.tasks.palindromes import PalindromeTask
from reviver.lstm.training import build_network
from reviver.report import numbers, original, pictures
from reviver.report.comparison import show_epochs
from reviver.report.evidence import LSTMEvidence
from reviver.report.model import (
    Block,
    Bullets,
    Equations,
    Figure,
    Paragraph,
    Section,
    Table,
    Text,
    code,
    plain,
    prose,
)

CELL_EQUATIONS = r"""
i_t &= sigma(W_i x_t + U_i h_(t-1) + b_i) & quad & "input gate: what is written to the cell" \
f_t &= sigma(W_f x_t + U_f h_(t-1) + b_f) & quad & "forget gate: what the cell keeps" \
g_t &= tanh(W_c x_t + U_c h_(t-1) + b_c) & quad & "cell candidate: the new values" \
o_t &= sigma(W_o x_t + U_o h_(t-1) + b_o) & quad & "output gate: what the cell shows" \
c_t &= f_t dot.o c_(t-1) + i_t dot.o g_t & quad & "cell state" \
h_t &= m_t dot.o o_t dot.o tanh(c_t) & quad & "hidden state with its dropout mask"
"""


def lstm_sections(evidence: LSTMEvidence) -> list[Section]:
    """Section 1 with its parts."""
    return [
        Section("1", "LSTM", 1, (Paragraph(_task(evidence)),)),
        Section("1.1", "Model structure", 2, _structure(evidence)),
        Section("1.2", "Regularisation and optimisation", 2, _training(evidence)),
        Section("1.3", "Results", 2, _results(evidence)),
    ]


def _task(evidence: LSTMEvidence) -> Text:
    config = evidence.runs[0].config
    entry = "one number from 0 to 9" if config.input == "scalar" else "ten numbers, of which one is 1"
    return prose(
        "The network reads the first {steps} digits of a palindrome of length {length} and names the last, which "
        "equals the first: it has to carry one digit across {between} others that do not matter. A digit enters as "
        "{entry}. The runs use {total} distinct palindromes, {train} to train on and {validation} to validate.",
        steps=str(config.length - 1),
        length=str(config.length),
        between=str(config.length - 2),
        entry=entry,
        total=numbers.whole(evidence.train_size + evidence.validation_size),
        train=numbers.whole(evidence.train_size),
        validation=numbers.whole(evidence.validation_size),
    )


def _structure(evidence: LSTMEvidence) -> tuple[Block, ...]:
    config, network = evidence.runs[0].config, evidence.network
    layers = "One LSTM layer" if len(network.lstm.layers) == 1 else f"{len(network.lstm.layers)} LSTM layers"
    example = " ".join(map(str, evidence.example))
    return (
        Paragraph(
            prose(
                "{layers} of {hidden} units and one linear layer. At step $t$ the layer sees the input $x_t$ and its "
                "own hidden state $h_(t-1)$, and computes",
                layers=layers,
                hidden=str(config.hidden_size),
            )
        ),
        Equations(CELL_EQUATIONS),
        Paragraph(
            prose(
                "with $sigma$ the logistic function and $dot.o$ the product of each pair of entries. $W$ weighs the "
                "input, $U$ the last hidden state, $b$ is the bias. Both states start at $h_0 = c_0 = 0$. Scores of "
                "the classes come from the last hidden state alone:"
            )
        ),
        Equations(r'"scores" = W_"out" h_(T-1) + b_"out"'),
        Figure(
            "Figure A",
            pictures.CELL,
            "drawing",
            prose(
                "One step of the LSTM. Orange: the cell state, which only the gates change. Blue: the hidden state "
                "and the input."
            ),
            "Diagram of one LSTM step. The previous hidden state and the input feed the forget gate, the input gate, "
            "the candidate and the output gate. The forget gate multiplies the cell state; input gate times candidate "
            "is added to it. The output gate multiplies the tanh of the cell state; a dropout mask multiplies the "
            "result, the hidden state.",
        ),
        Figure(
            "Figure B",
            pictures.UNROLLED,
            "drawing",
            prose(
                "The classifier on the palindrome {example}, unrolled over its steps. Dashed: hidden states that "
                "dropout acts on in training.",
                example=example,
            ),
            f"Diagram of the LSTM unrolled over {config.length - 1} steps. Each step reads one digit of {example}; "
            "the last hidden state goes through a linear layer, whose ten scores are compared with the last digit.",
        ),
        _parameters(evidence),
    )


def _parameters(evidence: LSTMEvidence) -> Table:
    """Parameters of the network; those of one layer with the same first letter and shape share a row."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
    total = 0
    for full_name, parameter in evidence.runs[0].network.named_parameters():
        owner, _, name = full_name.rpartition(".")
        letter = name if name.endswith("out") else name.split("_")[0]
        groups.setdefault((owner, letter, tuple(parameter.shape)), []).append(name)
        total += parameter.numel()
    rows = []
    for (owner, _, shape), names in sorted(groups.items(), key=lambda group: group[0][0] == ""):
        size = math.prod(shape)
        count = numbers.whole(size * len(names))
        shown = f"{len(names)} · {numbers.whole(size)} = {count}" if len(names) > 1 else count
        rows.append((code(owner or "classifier"), code(" ".join(names)), plain(numbers.times(shape)), plain(shown)))
    rows.append((plain("all"), plain(""), plain(""), plain(numbers.whole(total))))
    header = (plain("Module"), plain("Parameters"), plain("Shape of each"), plain("Numbers"))
    caption = prose("Parameters of the LSTM classifier, read from the network.")
    return Table("", caption, header, tuple(rows), "llrr", (0, 1, 0, 0))


def _training(evidence: LSTMEvidence) -> tuple[Block, ...]:
    config = evidence.runs[0].config
    forget_bias = dict(build_network(config, PalindromeTask(config)).named_parameters())["lstm.layers.0.b_f"][0].item()
    values = {
        "dropout": f"{config.hidden_dropout:g}",
        "norm": f"{config.max_norm:g}",
        "rate": f"{config.learning_rate:g}",
        "batch": str(config.batch_size),
        "epochs": str(config.epochs),
        "bias": f"{forget_bias:g}",
        "open": numbers.coarse_percent(1 / (1 + math.exp(-forget_bias))),
    }
    items = (
        (
            "**Initial weights.** Xavier-uniform for each matrix $W$ and $U$ on its own: the range is chosen so that "
            "signals and gradients keep their scale through a step. Equal weights would give all units equal "
            "gradients, so they would stay equal. The forget gate's bias starts at {bias}, which opens the gate to "
            "{open} and lets the cell remember before it has learned to; all other biases start at 0."
        ),
        (
            "**Dropout.** In training each unit of the hidden state is set to 0 with probability {dropout} and "
            "divided by 1 − {dropout} otherwise, drawn anew at every step; the masked state is what the next step and "
            "the output layer see. The cell state is not masked, so that its memory stays whole. No unit can rely on "
            "one other unit."
        ),
        (
            "**Loss and gradient.** Cross-entropy on the scores. Gradients are set to zero, computed back through all "
            "steps by autograd, and scaled down to a norm of at most {norm} before the update, so that one bad batch "
            "cannot throw the weights far."
        ),
        (
            "**Optimiser.** RMSprop with step size {rate}, which divides each gradient by the root of a running mean "
            "of its square; batches of {batch}, {epochs} epochs."
        ),
    )
    return (Bullets(tuple(prose(item, **values) for item in items)),)


def _results(evidence: LSTMEvidence) -> tuple[Block, ...]:
    return (
        Paragraph(_story(evidence)),
        _curves(evidence),
        Paragraph(_ending(evidence)),
        Paragraph(
            prose(
                "Training accuracy lies below validation accuracy because it is measured as training goes, with "
                "dropout on: only some of the units answer. With dropout off the final weights know {undropped} of "
                "their training sequences and {validation} of their validation sequences, so the gap is dropout and "
                "not a better fit to unseen data.",
                undropped=numbers.Spread(tuple(score.accuracy for score in evidence.undropped)).show(numbers.percent),
                validation=evidence.final("validation_accuracy").show(numbers.percent),
            )
            if evidence.runs[0].config.hidden_dropout > 0
            else prose("These runs have no dropout, so both accuracies are measured alike.")
        ),
    )


def _seeds(evidence: LSTMEvidence) -> str:
    return "one seed" if len(evidence.runs) == 1 else f"{len(evidence.runs)} seeds"


def _story(evidence: LSTMEvidence) -> Text:
    low, high = original.BREAKTHROUGH_FROM.value, original.BREAKTHROUGH_TO.value
    return prose(
        "The network was trained with {seeds}, each with its own weights, split and dropout masks. Guessing gives an "
        "accuracy of {chance} and a loss of {chance_loss}; training starts there. Validation accuracy first reaches "
        "{low} at epoch {at_low} and {high} at epoch {at_high}. Training accuracy stays above {stable} from epoch "
        "{at_stable} on. The first epoch in which every validation sequence is right is epoch {at_perfect}{later}.",
        seeds=_seeds(evidence),
        chance=numbers.coarse_percent(CHANCE),
        chance_loss=numbers.loss(-math.log(CHANCE)),
        low=numbers.coarse_percent(low),
        high=numbers.coarse_percent(high),
        at_low=show_epochs(evidence.first_at("validation_accuracy", low)),
        at_high=show_epochs(evidence.first_at("validation_accuracy", high)),
        stable=numbers.coarse_percent(original.STABLE_ACCURACY.value),
        at_stable=show_epochs(evidence.above_from("train_accuracy", original.STABLE_ACCURACY.value)),
        at_perfect=show_epochs(evidence.first_at("validation_accuracy", 1.0)),
        later=_later(evidence),
    )


def _later(evidence: LSTMEvidence) -> str:
    epoch = original.PERFECT_EPOCH.value
    share = evidence.share_after(epoch, "validation_accuracy", 1.0)
    if share is None:
        return ""
    return f"; after epoch {epoch:g} that is so in {share.show(numbers.coarse_percent)} of the epochs"


def _ending(evidence: LSTMEvidence) -> Text:
    final, best = evidence.final("validation_accuracy"), evidence.best("validation_accuracy")
    return prose(
        "At the end training has reached an accuracy of {train} with a loss of {train_loss}, validation {validation} "
        "with a loss of {validation_loss}. Validation accuracy still moves from epoch to epoch: at the last one it is "
        "{range} over the seeds, at the best one {best}.",
        train=evidence.final("train_accuracy").show(numbers.percent),
        train_loss=evidence.final("train_loss").show(numbers.loss),
        validation=final.show(numbers.percent),
        validation_loss=evidence.final("validation_loss").show(numbers.loss),
        range=final.show_range(numbers.percent),
        best=best.show_range(numbers.percent),
    )


def _curves(evidence: LSTMEvidence) -> Figure:
    many = len(evidence.runs) > 1
    lines = f"mean of {_seeds(evidence)}, band: their standard deviation" if many else "one seed"
    return Figure(
        "Figure 1",
        pictures.CURVES,
        "drawing",
        prose(
            "Loss and accuracy of the LSTM over the epochs ({lines}; dotted: chance). The original captions this "
            "figure “MLP Train and Test Loss on CIFAR10”, which is a slip: it shows the LSTM on palindromes.",
            lines=lines,
        ),
        f"Two line charts over {evidence.runs[0].config.epochs} epochs. Left: training loss ends at "
        f"{numbers.loss(evidence.final('train_loss').mean)}, validation loss at "
        f"{numbers.loss(evidence.final('validation_loss').mean)}. Right: training accuracy ends at "
        f"{numbers.percent(evidence.final('train_accuracy').mean)}, validation accuracy at "
        f"{numbers.percent(evidence.final('validation_accuracy').mean)}.",
    )
