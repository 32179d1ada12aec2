"""The text of the report: everything that both templates show, filled from the run folders."""

import dataclasses
from collections.abc import Sequence

from reviver.gan.latent import CONFIDENCE
from reviver.report import numbers, original
from reviver.report.comparison import Row, gan_rows, lstm_rows
from reviver.report.evidence import GANEvidence, LSTMEvidence
from reviver.report.gan_part import gan_sections
from reviver.report.lstm_part import lstm_sections
from reviver.report.model import Block, Fact, Facts, Paragraph, Report, Section, Table, plain, prose
from reviver.report.settings_part import settings_sections


def write_report(lstm: LSTMEvidence, gan: GANEvidence) -> Report:
    """Write the report on these runs."""
    lstm_comparison, gan_comparison = lstm_rows(lstm), gan_rows(gan)
    sections = [
        *lstm_sections(lstm),
        *gan_sections(gan),
        _comparison(lstm, lstm_comparison, gan_comparison),
        *settings_sections(lstm, gan),
    ]
    return Report(
        title="An LSTM that remembers and a GAN that draws",
        subtitle="The report rebuilt from training runs by Reviver",
        language="en",
        summary=_summary(lstm, gan, [*lstm_comparison, *gan_comparison]),
        sections=_number_tables(sections),
    )


def _summary(lstm: LSTMEvidence, gan: GANEvidence, rows: Sequence[Row]) -> tuple[Block, ...]:
    seeds = len(lstm.runs)
    compared = [row for row in rows if row.agrees is not None]
    agreeing = sum(row.agrees is True for row in compared)
    config = lstm.runs[0].config
    over = f"mean ± standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    facts = [
        Fact(
            lstm.final("validation_accuracy").show(numbers.percent),
            "LSTM, validation accuracy",
            f"at epoch {config.epochs}; {over}; report {numbers.percent(original.VALIDATION_ACCURACY.value)}",
        ),
        Fact(
            lstm.final("train_accuracy").show(numbers.percent),
            "LSTM, training accuracy",
            f"dropout on; {over}; report {numbers.percent(original.TRAIN_ACCURACY.value)}",
        ),
    ]
    if gan.judgement is not None:
        after, real = gan.judgement.after, gan.judgement.real
        facts.append(
            Fact(
                numbers.percent(after.balanced),
                "GAN, samples recognised, digits balanced",
                f"confidence ≥ {numbers.coarse_percent(CONFIDENCE)}; {gan.run.config.epochs} epochs, one seed; real "
                f"images {numbers.percent(real.balanced)}, chance {numbers.coarse_percent(1 / len(after.counts))}",
            )
        )
    facts.append(
        Fact(
            f"{agreeing} of {len(compared)}",
            "numbers of the report met",
            "within the range of our seeds, or equal where no chance is involved; section 3",
        )
    )
    text = prose(
        "An LSTM written out gate by gate learned to name the last digit of palindromes of length {length}, and a "
        "fully connected GAN learned to draw images after {data}. This report describes both networks, shows how they "
        "trained, and compares what they reached with the original report. Every number in it was computed from the "
        "run folders. Figures 1 to 5 and sections 1 and 2 have the numbers of the original; figures with letters are "
        "additional.",
        length=str(config.length),
        data="MNIST" if gan.run.config.data == "mnist" else gan.run.config.data,
    )
    return Paragraph(text), Facts(tuple(facts))


def _comparison(lstm: LSTMEvidence, lstm_comparison: Sequence[Row], gan_comparison: Sequence[Row]) -> Section:
    header = tuple(plain(name) for name in ("Quantity", "Report", "Ours", "Explanation"))
    seeds = len(lstm.runs)
    how = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed, so no spread"
    return Section(
        "3",
        "The report's numbers and ours",
        1,
        (
            Paragraph(
                prose(
                    "The original shows one run of each network, with a seed that is not known. A number of it agrees "
                    "with ours if it lies between the lowest and the highest of our seeds."
                )
            ),
            Table(
                "",
                prose("The LSTM: {how}.", how=how),
                header,
                tuple(row[:4] for row in lstm_comparison),
                "llll",
                (1.5, 1, 1.15, 2.6),
                True,
            ),
            Table(
                "",
                prose("The GAN: one run."),
                header,
                tuple(row[:4] for row in gan_comparison),
                "llll",
                (1.5, 1.15, 1.15, 2.45),
                True,
            ),
        ),
    )


def _number_tables(sections: Sequence[Section]) -> tuple[Section, ...]:
    """Label the tables in the order in which they come."""
    count = 0
    numbered = []
    for section in sections:
        blocks: list[Block] = []
        for block in section.blocks:
            if isinstance(block, Table):
                count += 1
                block = dataclasses.replace(block, label=f"Table {count}")  # noqa: PLW2901
            blocks.append(block)
        numbered.append(dataclasses.replace(section, blocks=tuple(blocks)))
    return tuple(numbered)
