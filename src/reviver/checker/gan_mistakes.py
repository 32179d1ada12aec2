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
CRITIC = Hint(LOSSES, "Between which numbers may a critic answer, and which loss has the logarithm of a probability?")
BETWEEN = Hint(LOSSES, "Between which numbers must a weight lie, so that a mean of two images is between them?")
FROM = Hint(STEP, "From which distribution does each step draw its noise?")
FITS = Hint(NETWORKS, "Which shape does each layer take, and which shape has what it is given?")
ENDS = Hint(TRAIN, "How many rows should the path have, and which are the first and the last?")
LINE = Hint(TRAIN, "Which line joins the two points, and what do the two weights add up to at each point?")

PARTS = "as_real, as_fake = lambda x: softplus(-x), lambda x: softplus(x)"
generator_loss = Program(f"""{PARTS}
def generator_loss(logits):
    return as_real(logits).mean()
""")
discriminator_loss = Program(f"""{PARTS}
def discriminator_loss(real, fake):
    return (as_real(real).mean() + as_fake(fake).mean()) / 2
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
    a, b = 1 - t, t
    return a * start + b * end
""")
"""Both ends and `steps` points between, [steps + 2, Z]."""
ROUNDING = "the loss is computed from a rounded probability"
LOGARITHM = "softplus(-x) -> -x.sigmoid().log() && softplus(x) -> -(1 - x.sigmoid()).log()"
IN_BOTH = table(
    ("the labels are exchanged", LABELS, "x) -> -x)"),
    ("there are two sigmoids", SIGMOIDS, "x) -> x.sigmoid())"),
    ("the loss has the wrong sign", SIGN, "softplus( -> -softplus("),
    ("the loss is a sum over the batch", MEAN, ".mean() -> .sum()"),
    ("the logarithm is missing", MEAN, "softplus( -> ("),
    (ROUNDING, ROUNDED, LOGARITHM),
    (ROUNDING, ROUNDED, f"{LOGARITHM} && .log() -> .log().clamp(-100)"),  # as BCELoss
)
"""Mistakes that both losses may have."""
SATURATING = Mistake("the loss is the saturating one, log(1 - D(G(z)))", FLAT, "as_real(logits) -> -as_fake(logits)")
OF_D = table(
    ("the factor ½ is missing", MEAN, " / 2 -> "),
    ("the generated images are missing", LABELS, " + as_fake(fake).mean() -> "),
    ("the real images are missing", LABELS, "as_real(real).mean() + -> "),
)
NO_FAKE, NO_REAL, EXCHANGED, WRONG_SIGN = *OF_D[1:], IN_BOTH[0], IN_BOTH[2]
LOSS_MISTAKES = {generator_loss: (SATURATING, *IN_BOTH), discriminator_loss: (*OF_D, *IN_BOTH)}
BACK_G = "opt_G.zero_grad()\n    generator_loss(D(fake)).backward(retain_graph=True)\n    "
GAN_STEP_MISTAKES = (
    *table(
        ("detach is missing: the loss of D reaches G", REACH, ".detach() -> "),
        ("the gradients are never cleared", CLEAR, ".zero_grad() -> "),
        (
            "the gradients of D from the loss of G are not cleared",
            CLEAR,
            "opt_D.zero_grad() -> pass && opt_G.zero -> opt_D.zero_grad(); opt_G.zero",
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
    SATURATING,
    *OF_D,
    *IN_BOTH,
)
NO_DETACH, NEVER_CLEARED, KEPT, NO_GRADIENT, *_ = GAN_STEP_MISTAKES
IN_EVALUATION = GAN_STEP_MISTAKES[7]
NO_TANH, NO_SIGMOID, OUT_OF_RANGE, SAME_IMAGE, SAME_ANSWER, TWO_SIGMOIDS = table(
    ("there is no tanh at the end of G", RANGE),
    ("there is a sigmoid at the end of G, not tanh", RANGE),
    ("G cannot reach all pixels of the data", RANGE),
    ("all noise gives the same image", INPUT),
    ("all images get the same answer", INPUT),
    ("there is a sigmoid at the end of D, and another in the loss", SIGMOIDS),
)
NO_SUCH_NAME = Mistake(
    "a name is used that torch does not have", Hint(NETWORKS, "How does the documentation spell it?")
)
NO_BRACKETS = Mistake(
    "brackets are missing behind no_grad", Hint(TRAIN, "What does `with` need: a class, or an object of it?")
)
BOUNDED, NOT_BETWEEN, OTHER_NOISE, MISFIT, OTHER_SIZE = table(
    ("there is a sigmoid at the end of D, and a loss of a critic", CRITIC),
    ("the points of the gradient penalty are not between real and generated images", BETWEEN),
    ("G learns with other noise than D", FROM),
    ("G does not take its noise", FITS),
    ("generated images have another size than those of the data", FITS),
)
TOO_EARLY, REUSED, TARGET_SHAPE, LABELS_ABOVE_ONE, DROPPED, NONE_FOR_D, SAME_TARGET, NOT_HELD = table(
    ("an optimizer steps before the other gradient is there", SAME),
    ("the fake images are used again after the step of G, without detach", REACH),
    ("the labels have the shape [N], the answers of D [N, 1]", SHAPES),
    ("a label is above 1", SOFT),
    ("the result of a call that changes nothing by itself is dropped", RETURNS),
    ("D gets no gradient from its loss", UPDATE),
    ("the loss of D wants the same answer for real and for generated images", LABELS),
    ("an optimizer has the parameters of the other network", UPDATE),
)
ANGLE = "cosine_similarity(start, end, dim=0).acos()"
INTERPOLATION_MISTAKES = table(
    ("the ends are missing", ENDS, "[:, None] -> [1:-1, None]"),
    ("the last end is missing", ENDS, "[:, None] -> [:-1, None]"),
    ("steps counts the ends, too", ENDS, "steps + 2 -> steps"),
    ("the ends are exchanged", ENDS, "1 - t, t -> t, 1 - t"),
    (
        "the path is spherical",
        LINE,
        f"a, b = 1 - t, t -> w = {ANGLE}; a, b = sin(w - t * w) / sin(w), sin(t * w) / sin(w)",
    ),
    ("the start keeps its whole weight", LINE, "1 - t, t -> 1, t"),
)
