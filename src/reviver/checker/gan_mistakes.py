"""Well-known mistakes in a GAN: each is an edit of the piece as it is right, or a name for what the check sees.

Shapes: N images, C channels, H height, W width, Z latent size, S points on a path.
"""

from reviver.checker.compare import Program
from reviver.checker.pieces import Hint, Mistake, table

NETWORKS, LOSSES, STEP, TRAIN = "The networks", "The losses", "One training step", "Train it"
FLAT = Hint("Algorithm 1", "Where is this loss flat, and where is G at first?")
LABELS = Hint(LOSSES, "Which answer does G want for its images, and which ones D for real and for generated ones?")
SIGMOIDS = Hint(NETWORKS, "How often do your network and your loss together apply a sigmoid?")
ROUNDED = Hint(NETWORKS, "What is the logarithm of a probability that was rounded to 0?")
MEAN = Hint(LOSSES, "Compare your loss with its equation: over what is each mean taken, and of what?")
SIGN = Hint(LOSSES, "Which sign has the loss that an optimizer minimizes?")
RANGE = Hint(NETWORKS, "Between which numbers do the pixels of the data lie?")
INPUT = Hint(NETWORKS, "Does the result depend on all rows of the input?")
REACH = Hint(STEP, "Which network may the loss of D change, and which one the loss of G?")
CLEAR = Hint(STEP, "Which calls add to the gradients of D, and which of them are meant for D?")
SAME = Hint(STEP, "At which weights are both gradients taken? To alternate, algorithm 1 samples new noise.")
UPDATE = Hint(STEP, "Which network does each optimizer change?")
SHAPES = Hint(LOSSES, "Which shapes have labels and answers? What does broadcasting make of [N] and [N, 1]?")
SOFT = Hint(LOSSES, "Which logit has the smallest loss if the label is 1.2?")
RETURNS = Hint(STEP, "Does the call change the tensor, or return another one?")
NORM = Hint(TRAIN, "What does BatchNorm use in training, and what in evaluation?")
NOISE = Hint(STEP, "What are the arguments of the step for, and how many images should they give?")
ENDS = Hint(TRAIN, "How many rows should the path have, and which are the first and the last?")
LINE = Hint(TRAIN, "Which line joins the two points, and what do the two weights add up to at each point?")

generator_loss = Program("""
def generator_loss(logits):
    return softplus(-logits).mean()
""")
discriminator_loss = Program("""
def discriminator_loss(real, fake):
    return (softplus(-real).mean() + softplus(fake).mean()) / 2
""")
gan_step = Program(f"""{generator_loss.text}{discriminator_loss.text}
def gan_step(G, D, opt_G, opt_D, real, z):
    fake = G(z)
    opt_G.zero_grad()
    generator_loss(D(fake)).backward(retain_graph=True)
    opt_D.zero_grad()
    discriminator_loss(D(real), D(fake.detach())).backward()
    opt_G.step()
    opt_D.step()
""")
interpolate = Program("""
def interpolate(start, end, steps):
    t = linspace(0, 1, steps + 2)[:, None]
    return (1 - t) * start + t * end
""")
"""Both ends and `steps` points between, [steps + 2, Z]."""
IN_LOSS = (
    ("the labels are exchanged", LABELS, "softplus(x)", "softplus(-x)"),
    ("there are two sigmoids", SIGMOIDS, "softplus(-x.sigmoid())", "softplus(x.sigmoid())"),
    ("the loss has the wrong sign", SIGN, "-softplus(-x)", "-softplus(x)"),
    ("the loss is a sum over the batch", MEAN, "len(x) * softplus(-x)", "len(x) * softplus(x)"),
    ("the logarithm is missing", MEAN, "-x", "x"),
    *(
        (
            "the loss is computed from a rounded probability",
            ROUNDED,
            f"-x.sigmoid().log(){c}",
            f"-(1 - x.sigmoid()).log(){c}",
        )
        for c in ("", ".clamp(-100)")  # the latter is BCELoss
    ),
)
"""Mistakes that both losses may have: what stands for softplus(-x) of images as real, and for softplus(x) as fake."""
SATURATING, *OF_G = table(
    ("the loss is the saturating one, log(1 - D(G(z)))", FLAT, "softplus(-logits) -> -softplus(logits)"),
    *((name, hint, f"softplus(-logits) -> {real.replace('x', 'logits')}") for name, hint, real, _ in IN_LOSS),
)
HALF, *OF_D = table(
    ("the factor ½ is missing", MEAN, " / 2 -> "),
    ("the generated images are missing", LABELS, " + softplus(fake).mean() -> "),
    ("the real images are missing", LABELS, "softplus(-real).mean() + -> "),
    *(
        (name, hint, f"softplus(-real) -> {real.replace('x', 'real')} && softplus(fake) -> {fake.replace('x', 'fake')}")
        for name, hint, real, fake in IN_LOSS
    ),
)
LOSS_MISTAKES = {"generator_loss": (SATURATING, *OF_G), "discriminator_loss": (HALF, *OF_D)}
EXCHANGED, TWO, WRONG_SIGN = (
    Mistake(a.name, a.hint, f"{a.change} && {b.change}") for a, b in zip(OF_G[:3], OF_D[2:5], strict=True)
)
BACK_G = "opt_G.zero_grad()\n    generator_loss(D(fake)).backward(retain_graph=True)\n    "
GAN_STEP_MISTAKES = (
    *table(
        ("detach is missing: the loss of D reaches G", REACH, ".detach() -> "),
        ("the gradients are never cleared", CLEAR, "opt_G.zero_grad() -> pass && opt_D.zero_grad() -> pass"),
        (
            "the gradients of D from the loss of G are not cleared",
            CLEAR,
            "opt_D.zero_grad() -> pass && opt_G.zero_grad() -> opt_G.zero_grad(); opt_D.zero_grad()",
        ),
        ("G gets no gradient from its loss", REACH, "D(fake) -> D(fake.detach())"),
        (
            "G learns from the new D, with one noise for both",
            SAME,
            f"{BACK_G} ->  && opt_G.step()\n    opt_D.step() -> opt_D.step()\n    {BACK_G}opt_G.step()",
        ),
        ("G is not updated", UPDATE, "opt_G.step() -> pass"),
        ("D is not updated", UPDATE, "opt_D.step() -> pass"),
        ("BatchNorm is in evaluation mode", NORM, "fake = G -> fake = G.eval()"),
        ("all images have one noise vector", NOISE, "(z)\n -> (z[:1].expand_as(z))\n"),
        ("the step samples its own noise, not z", NOISE, "(z)\n -> (randn_like(z))\n"),
    ),
    TWO,
    EXCHANGED,
    *(
        each._replace(name=f"loss of {name[0].upper()}: {each.name}", hint=LABELS)
        for name, mistakes in LOSS_MISTAKES.items()
        for each in mistakes
    ),
)
NO_DETACH, NEVER_CLEARED, KEPT, NO_GRADIENT, *_ = GAN_STEP_MISTAKES
NO_TANH, NO_SIGMOID, SAME_IMAGE, SAME_ANSWER, TWO_SIGMOIDS = table(
    ("there is no tanh at the end of G", RANGE),
    ("there is a sigmoid at the end of G, not tanh", RANGE),
    ("all noise gives the same image", INPUT),
    ("all images get the same answer", INPUT),
    ("there is a sigmoid at the end of D, and another in the loss", SIGMOIDS),
)
TOO_EARLY, REUSED, TARGET_SHAPE, LABELS_ABOVE_ONE, DROPPED = table(
    ("an optimizer steps before the other gradient is there", SAME),
    ("the fake images are used again after the step of G, without detach", REACH),
    ("the labels have the shape [N], the answers of D [N, 1]", SHAPES),
    ("a label is above 1", SOFT),
    ("the result of a call that changes nothing by itself is dropped", RETURNS),
)
LOOP: tuple[tuple[str, str, str, Mistake | str], ...] = (
    ("GD", "old", "", NEVER_CLEARED),
    ("G", "-fake as real", "fake as real", WRONG_SIGN),
    ("G", "-fake as fake", "fake as real", SATURATING),
    ("G", "fake as fake", "fake as real", EXCHANGED),
    ("G", "fake as fake", "", NO_DETACH),
    ("G", "fake as real", "", "right"),
    ("D", "real as real, fake as fake, fake as real", "", KEPT),
    ("D", "real as fake", "real as real", EXCHANGED),
    ("D", "-real as real, -fake as fake", "", WRONG_SIGN),
    ("D", "real as real, fake as fake", "", "right"),
    ("D", "real as real", "", "real"),
    ("D", "fake as fake", "", "fake"),
)
"""What the gradient of a network shows, the first that fits: parts that are there, one that is not, and the mistake, or what is right.

A part is the gradient of a loss for real or generated images as real or fake; an old one is of before the last step.
"""
EPS = "BatchNorm gets {:.2g} as eps, which stands second, before momentum; with eps = 0.8 all runs of the recipes collapsed"
PATH = "return (1 - t) * start + t * end"
INTERPOLATION_MISTAKES = table(
    ("the ends are missing", ENDS, "[:, None] -> [1:-1, None]"),
    ("the last end is missing", ENDS, "[:, None] -> [:-1, None]"),
    ("steps counts the ends, too", ENDS, "steps + 2 -> steps"),
    ("the ends are exchanged", ENDS, "(1 - t) * start + t * end -> t * start + (1 - t) * end"),
    (
        "the path is spherical",
        LINE,
        f"{PATH} -> a = cosine_similarity(start, end, dim=0).acos(); return (sin(a - t * a) * start + sin(t * a) * end) / sin(a)",
    ),
    ("the start keeps its whole weight", LINE, "(1 - t) * start -> start"),
)
