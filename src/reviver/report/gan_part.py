"""Section 2 of the report: the GAN."""

import math

from reviver.gan.classifier import NUM_FEATURES
from reviver.gan.latent import CONFIDENCE
from reviver.gan.networks import NEGATIVE_SLOPE, Discriminator, Generator
from reviver.gan.presets import GANConfig
from reviver.report import numbers, original, pictures
from reviver.report.comparison import count_digits
from reviver.report.evidence import GANEvidence, Recognition
from reviver.report.model import (
    Block,
    Bullets,
    Equations,
    Figure,
    FigureRow,
    Paragraph,
    Section,
    Table,
    Text,
    code,
    plain,
    prose,
)

LOSSES = r"""
L_D &= 1/2 (EE_x [-log D(x)] + EE_z [-log (1 - D(G(z)))]) \
L_G &= EE_z [-log D(G(z))]
"""


def gan_sections(evidence: GANEvidence) -> list[Section]:
    """Section 2 with its parts."""
    config = evidence.run.config
    intro = prose(
        "A generator $G$ turns noise into images; a discriminator $D$ tells them from real ones. They are trained "
        "against each other on {images} images of {data} for {epochs} epochs. " + _caveat(config),
        images=numbers.whole(evidence.run.folder.record["data"]["images"]),
        data=_data_name(evidence),
        epochs=str(config.epochs),
        full=str(original.GAN_EPOCHS),
        additions=", ".join(additions(config)),
    )
    return [
        Section("2", "Generative adversarial network", 1, (Paragraph(intro),)),
        Section("2.1", "Model structure", 2, _structure(evidence)),
        Section("2.2", "Results", 2, _results(evidence)),
    ]


def _data_name(evidence: GANEvidence) -> str:
    name = str(evidence.run.folder.record["data"].get("name", "unknown"))
    return "MNIST" if name == "mnist" else name


def _caveat(config: GANConfig) -> str:
    """What the run does otherwise than the script that the report follows, for `prose`."""
    sentences = []
    if additions(config):
        sentences.append(
            "Networks and losses are the report's; for variety and a steady end of training we add {additions}. "
            "`reviver report --full` trains without these for {full} epochs, as the script does that the report follows."
        )
    elif config.epochs < original.GAN_EPOCHS:
        sentences.append(
            "That is fewer than the {full} of the script that the report follows, to keep it short; its figures show "
            "what that gives."
        )
    return " ".join([*sentences, "All numbers are of one run with one seed."])


def additions(config: GANConfig) -> list[str]:
    """What the recipe of a run has that the report's has not, in words."""
    given = {
        f"a penalty on the slope of D at real images (R1, γ = {config.r1:g})": config.r1 > 0,
        f"momentum against the last steps (β₁ = {_signed(config.beta1)})": config.beta1 < 0,
        "step sizes that fall": config.schedule != "constant",
        "a moving average of G that images are drawn from": config.ema > 0,
        "products of factors rounded to bfloat16": config.precision == "bf16",
    }
    return [words for words, is_given in given.items() if is_given]


def _signed(number: float) -> str:
    """A number with the minus sign of print instead of a hyphen."""
    return f"{number:g}".replace("-", "\N{MINUS SIGN}")


def _structure(evidence: GANEvidence) -> tuple[Block, ...]:
    run = evidence.run
    shape = numbers.times(run.generator.image_shape)
    return (
        Figure(
            "Figure C",
            pictures.NETWORKS,
            "drawing",
            prose(
                "Both networks. A box is a linear layer with its width and what follows it; its height grows with the "
                "logarithm of the width."
            ),
            "Diagram of the generator, whose layers widen from the noise to the image, and of the discriminator, "
            "whose layers narrow from the image to one probability.",
        ),
        Bullets(
            (
                prose(
                    "**Generator.** {latent} numbers of noise, drawn from $z tilde cal(N)(0, I)$, pass through linear "
                    "layers, with LeakyReLU of slope {slope} and (from the second on) BatchNorm before it. The last "
                    "layer has a number for each of the {pixels} pixels, Tanh brings them into −1 to 1, and they are "
                    "arranged as {shape}.",
                    latent=str(run.config.latent_size),
                    slope=f"{NEGATIVE_SLOPE:g}",
                    pixels=str(math.prod(run.generator.image_shape)),
                    shape=shape,
                ),
                prose(
                    "**Discriminator.** The pixels of an image pass through linear layers with LeakyReLU between "
                    "them; a sigmoid makes the last number the probability that the image is real."
                ),
            )
        ),
        Paragraph(
            prose(
                "$D$ minimises $L_D$, $G$ minimises $L_G$ (the non-saturating form). Both are computed from the "
                "number before the sigmoid, since the logarithm of a rounded probability could overflow."
            )
        ),
        Equations(LOSSES),
        Paragraph(
            prose(
                "Each batch of {batch} real images makes one update of each network by Adam with step size {rate} and "
                "$beta_1$ = {beta1}, $beta_2$ = {beta2}.",
                batch=str(run.config.batch_size),
                rate=f"{run.config.learning_rate:g}",
                beta1=_signed(run.config.beta1),
                beta2=f"{run.config.beta2:g}",
            )
        ),
        _parameters(evidence),
    )


def _parameters(evidence: GANEvidence) -> Table:
    """Parameters of both networks, a row for each module that has any."""
    rows: list[tuple[Text, ...]] = []
    networks: tuple[tuple[str, Generator | Discriminator], ...] = (
        ("generator", evidence.run.generator),
        ("discriminator", evidence.run.discriminator),
    )
    for name, network in networks:
        for place, module in network.layers.named_children():
            parameters = list(module.named_parameters())
            if parameters:
                shapes = ", ".join(f"{part} {numbers.times(tensor.shape)}" for part, tensor in parameters)
                count = sum(tensor.numel() for _, tensor in parameters)
                rows.append(
                    (
                        code(f"{name}.layers.{place}"),
                        plain(type(module).__name__),
                        plain(shapes),
                        plain(numbers.whole(count)),
                    )
                )
        total = sum(tensor.numel() for tensor in network.parameters())
        rows.append((plain(f"all of the {name}"), plain(""), plain(""), plain(numbers.whole(total))))
    header = (plain("Module"), plain("Kind"), plain("Parameters and their shapes"), plain("Numbers"))
    caption = prose("Parameters of both networks, read from the networks.")
    return Table("", caption, header, tuple(rows), "lllr", (0, 0, 1, 0), True)


def _results(evidence: GANEvidence) -> tuple[Block, ...]:
    grids = FigureRow(
        tuple(
            Figure(
                f"Figure {index}",
                name,
                "pixels",
                prose("{when}: {epoch}.", when=when, epoch=_after(epoch)),
                f"Grid of 25 generated images {_after(epoch)}.",
            )
            for index, (name, when, (epoch, _)) in enumerate(
                zip(pictures.GRIDS, ("Start", "Middle", "End"), evidence.grids, strict=True), start=2
            )
        )
    )
    blocks: list[Block] = [
        Paragraph(
            prose(
                "Figures 2 to 4 show the same 25 noise vectors at the start, in the middle and at the end of "
                "training. BatchNorm uses its running statistics there, so that an image depends on its own noise "
                "only. Before training the images are grey noise."
            )
        ),
        grids,
    ]
    if evidence.judgement is not None:
        blocks += _judgement(evidence)
    blocks += [
        Paragraph(_walk_text()),
        _walk(evidence),
        Paragraph(_losses_text(evidence)),
        _losses(evidence),
        _animation(evidence),
    ]
    if evidence.scores:
        blocks += [Paragraph(_scores_text(evidence)), *_collapse(evidence), _scores(evidence)]
    return tuple(blocks)


def _after(epoch: int) -> str:
    return "before training" if epoch == 0 else f"after {epoch} epoch{'s' * (epoch > 1)}"


def _judgement(evidence: GANEvidence) -> list[Block]:
    judged = evidence.judgement
    assert judged is not None
    text = prose(
        "How good are they? A convolutional network that was trained on MNIST's training images to name digits, and "
        "names {accuracy} of {real_size} test images rightly (chance: {chance}), is asked about {size} new samples. "
        "It recognises {share} of them with a confidence of at least {confidence}, of the real test images {ceiling}, "
        "and of what the generator drew before training {floor}, all as {floor_digits}. Since a generator that "
        "repeats one convincing digit would get 100 % too, the last column counts at most a tenth of the images for "
        "each digit: such a generator gets {chance} there, which is chance, and the trained one {balanced}. It draws "
        "{digits}. This says whether a sample looks like a digit and whether digits are left out, not whether it "
        "looks written by hand.",
        accuracy=numbers.percent(judged.real_accuracy),
        real_size=str(judged.real.size),
        chance=numbers.coarse_percent(1 / len(judged.real.counts)),
        size=str(judged.after.size),
        share=_share(judged.after),
        confidence=numbers.coarse_percent(CONFIDENCE),
        digits=count_digits(judged.after),
        floor_digits=count_digits(judged.before),
        balanced=numbers.percent(judged.after.balanced),
        ceiling=_share(judged.real),
        floor=_share(judged.before),
    )
    header = (plain("Images"), *(plain(digit) for digit in range(10)), plain("All"), plain("Balanced"))
    rows = tuple(
        (
            plain(name),
            *(plain(count) for count in recognition.counts),
            plain(numbers.percent(recognition.share)),
            plain(numbers.percent(recognition.balanced)),
        )
        for name, recognition in (
            ("untrained generator", judged.before),
            ("trained generator", judged.after),
            ("real test images", judged.real),
        )
    )
    caption = prose(
        "Digits that the classifier recognises with a confidence of at least {confidence}, among {size} images each.",
        confidence=numbers.coarse_percent(CONFIDENCE),
        size=str(judged.after.size),
    )
    return [Paragraph(text), Table("", caption, header, rows, "l" + 12 * "r", (1, *(12 * (0,))))]


def _share(recognition: Recognition) -> str:
    if recognition.share in (0, 1):
        return numbers.coarse_percent(recognition.share)
    return numbers.plus_minus(recognition.share, recognition.error, numbers.percent)


def _walk_text() -> Text:
    return prose(
        "Where the generator has learned a smooth map, its image changes little by little while the noise moves from "
        "one vector to another. Figure 5 walks between two samples: pictures between that look like no digit mark the "
        "border of two."
    )


def _walk(evidence: GANEvidence) -> Figure:
    walk = evidence.walk
    steps = len(walk.images) - 2
    if walk.digits is None:
        caption = prose(
            "{steps} steps in latent space between two images, on a straight line between their noise vectors. No two "
            "different digits were recognised among this generator's samples, so the ends are two images that differ "
            "much.",
            steps=str(steps),
        )
        alt = f"Row of {steps + 2} generated images that change step by step from the first to the last."
    else:
        caption = prose(
            "{steps} steps in latent space from a {first} to a {last}, on a straight line between their noise "
            "vectors. Below: the digit that the classifier takes each image for, and its confidence. Also saved as "
            "`figures/interpolation.pdf`.",
            steps=str(steps),
            first=str(walk.digits[0]),
            last=str(walk.digits[-1]),
        )
        alt = (
            f"Row of {steps + 2} generated images that change step by step from a {walk.digits[0]} to a "
            f"{walk.digits[-1]}; the classifier reads them as {', '.join(map(str, walk.digits))}."
        )
    return Figure("Figure 5", pictures.INTERPOLATION, "pixels", caption, alt)


def _losses_text(evidence: GANEvidence) -> Text:
    last = evidence.metrics[-1]
    return prose(
        "Each point of Figure D sums up {updates} updates. Neither loss has to fall: they measure two networks "
        "against each other, not against a fixed goal. At the end $L_G$ is {generator} and $L_D$ {discriminator}; $D$ "
        "gives real images a probability of {real} and generated ones {fake} on average, where 50 % for both would "
        "mean that it cannot tell them apart (then $L_G = L_D = log 2$).",
        updates=str(evidence.run.config.log_every),
        generator=_number(last["generator_loss"], numbers.loss),
        discriminator=_number(last["discriminator_loss"], numbers.loss),
        real=_number(last["probability_real"], numbers.coarse_percent),
        fake=_number(last["probability_fake"], numbers.coarse_percent),
    )


def _number(value: float | None, show: numbers.Format) -> str:
    return "not finite" if value is None else show(value)


def _losses(evidence: GANEvidence) -> Figure:
    return Figure(
        "Figure D",
        pictures.LOSSES,
        "drawing",
        prose("Losses of both networks, and the discriminator's answers to real and generated images."),
        f"Two line charts over {evidence.run.config.epochs} epochs: the losses of generator and discriminator, and "
        "the mean probability that the discriminator gives to real and to generated images.",
        floats=False,
    )


def _animation(evidence: GANEvidence) -> Figure:
    return Figure(
        "Figure E",
        pictures.ANIMATION,
        "animation",
        prose("The 25 images through {epochs} epochs of training.", epochs=str(evidence.run.config.epochs)),
        "Animation of the grid of 25 generated images, from noise to what they are at the end.",
        0.6,
    )


def _scores_text(evidence: GANEvidence) -> Text:
    last = evidence.scores[-1]
    floor = last["floor"]
    return prose(
        "Figure F compares {n} samples at a time with real test images, by {features} features of the {extractor}. FID "
        "is the distance of the two sets; precision is the fraction of the samples that look like a real image, recall "
        "and coverage are the fraction of the real images that the samples come near to: they fall when the generator "
        "draws few images again and again. At the end FID is {fid}, {ratio} times the {floor_fid} of as many real "
        "training images, and coverage is {coverage}, theirs {floor_coverage}. This FID cannot be compared with that of "
        "other classifiers or other numbers of samples.",
        n=str(last["n"]),
        features=str(NUM_FEATURES),
        extractor=str(last["extractor"]),
        fid=f"{last['fid']:.1f}",
        ratio=f"{last['fid_ratio']:.1f}",
        floor_fid=f"{floor['fid']:.1f}",
        coverage=numbers.coarse_percent(last["coverage"]),
        floor_coverage=numbers.coarse_percent(floor["coverage"]),
    )


def _collapse(evidence: GANEvidence) -> list[Block]:
    """What is to be said of a run that collapsed; nothing of another."""
    scores = zip(evidence.scores, evidence.collapses, strict=True)
    epochs = [str(point["epoch"]) for point, problem in scores if problem is not None]
    if not epochs:
        return []
    now = evidence.collapses[-1]
    sentence = (
        "**The generator collapsed on the way**, at {count} of {total} scorings, first after epoch {first}, and came back."
        if now is None
        else "**The generator is collapsed** at the end, and at {count} of {total} scorings, first after epoch {first}. "
        "The last one says: {problem}."
    )
    text = prose(sentence, count=str(len(epochs)), total=str(len(evidence.scores)), first=epochs[0], problem=now or "")
    return [Paragraph(text)]


def _scores(evidence: GANEvidence) -> Figure:
    return Figure(
        "Figure F",
        pictures.SCORES,
        "drawing",
        prose(
            "Scores of {n} samples while training. Dotted: what as many real images score.{shaded} Extractor: "
            "{extractor}, SHA-256 {sha256}….",
            n=str(evidence.scores[-1]["n"]),
            shaded=" Shaded: collapsed." if any(evidence.collapses) else "",
            extractor=str(evidence.scores[-1]["extractor"]),
            sha256=str(evidence.scores[-1]["extractor_sha256"])[:12],
        ),
        f"Two line charts over {evidence.run.config.epochs} epochs: FID on a logarithmic axis, and precision, recall and "
        "coverage, each beside the value of real images.",
        floats=False,
    )
