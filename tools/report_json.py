"""The page docs/reference/report-json.md, from the declarations in show/report/report_json.py; docs/conf.py writes it."""

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from reviver.show.report.report_json import Report

INTRODUCTION = """\
# report.json

`reviver report` writes its results to `report.json`, and makes the HTML and PDF from it.
[Read the results and change the report](../how-to/read-the-results.md) shows how to use it.

Fractions are from 0 to 1, losses are cross-entropies in nats, and times are seconds. `schema_version` increases when a
key is removed, renamed or changes its meaning. New keys do not change it.

## Rows of the comparison

`comparison` has one row per quantity. The GAN's rows from `recognized` on exist only if it learned digits.
`perfect_epochs` exists only if the runs have more than 80 epochs.

| row | quantity |
|---|---|
| `sequences` | number of palindromes for training and for validation |
| `train_accuracy`, `validation_accuracy`, `train_loss`, `validation_loss` | metrics at the last epoch; those of training with dropout on |
| `accuracy_gap` | validation accuracy minus training accuracy at the last epoch |
| `first_epoch_at_40`, `first_epoch_at_55` | first epoch with a validation accuracy of 40 % and of 55 % |
| `stable_from_epoch` | epoch from which training accuracy stays above 75 % |
| `first_perfect_epoch` | first epoch with a validation accuracy of 100 % |
| `perfect_epochs` | fraction of the epochs after 80 with a validation accuracy of 100 % |
| `generator_widths`, `discriminator_widths` | widths of the linear layers |
| `batch_norm_widths` | widths of the generator's layers with BatchNorm |
| `negative_slopes` | negative slope of each LeakyReLU |
| `epochs` | epochs of the GAN's training |
| `recognized` | fraction of the samples that the digit classifier recognizes with confidence |
| `recognized_balanced` | the same, with each digit counted for at most a tenth of the samples |
| `digits` | number of different digits among these samples |

## The middle of training

Figure 3 shows the middle of the GAN's training, but not half of the epochs. Images change fastest at the start, so
images after half of the epochs look like those at the end. A run also saves grids after 10, 20, 50, 100 … updates of
its first epochs. The report shows the grid that is closest to halfway between the first and the last grid. For digits,
the measure is the fraction of recognized digits, with each digit counted for at most a tenth of the images. For other
images, it is the distance of the pixels to both grids.

## Keys
"""


def page() -> str:
    """Return the page as Markdown, with one table per kind of object."""
    lines = [INTRODUCTION]
    kinds: list[type[BaseModel]] = [Report]
    for kind in kinds:
        lines += [f"### {kind.__name__}", "", str(kind.__doc__).splitlines()[0], ""]
        lines += ["| key | type | description |", "|---|---|---|"]
        for name, field in kind.model_fields.items():
            cells = (f"`{name}`", _describe_type(field.annotation, kinds), str(field.description))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _describe_type(kind: Any, kinds: list[type[BaseModel]]) -> str:
    """Return the JSON type of a Python type in words; append models that are not in `kinds` yet."""
    names = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null", Any: "any value"}
    if kind in names:
        return names[kind]
    parts = [part for part in get_args(kind) if part is not Ellipsis]
    if get_origin(kind) is tuple:
        return f"list of {_describe_type(parts[0], kinds)}"
    if get_origin(kind) is dict:
        return f"object of {_describe_type(parts[1], kinds)} by name"
    if get_origin(kind) is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if parts:  # a union
        return " or ".join(_describe_type(part, kinds) for part in parts)
    if kind not in kinds:
        kinds.append(kind)
    return f"[{kind.__name__}](#{kind.__name__.lower()})"
