"""What the command line understands: its commands, their options, and what it says of a wrong one.

Every option of a training command is a field of that command's configuration dataclass, where its
default and its help stand too.
"""

import dataclasses
import difflib
import re
import sys
from argparse import ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, get_loader, set_loader, set_parsing_settings
from yaml import YAMLError

import reviver
from reviver.config import MAX_VALUE, check_flag, choose_preset, override
from reviver.errors import ConfigError
from reviver.gan.presets import PRESETS as GAN_PRESETS
from reviver.gan.presets import GANConfig
from reviver.lstm.presets import PRESETS as LSTM_PRESETS
from reviver.lstm.presets import LSTMConfig
from reviver.settings_files import read_settings
from reviver.untrusted import one_line, shown

NOT_IN_FILES = ("config", "help", "print_config", "version")
"""Options that a settings file must not set: it would name another file, or is no setting."""
MAX_NAME = 60

EXTRACTOR_HELP = (
    "What looks at the images, from reviver gan extractor; by default the run's own, or the digit classifier for MNIST."
)


class HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions and examples."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
        command: the words of the command, such as ("lstm", "train").
        options: all its options, with defaults.
        given: only those that were given, on the command line or in a --config file.
    """

    command: tuple[str, ...]
    options: Namespace
    given: dict[str, Any]


def build_parser(arguments: Sequence[str] = ()) -> ArgumentParser:
    """Build the whole parser; `arguments` are looked at only for a --preset, whose values --help then shows."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    set_loader("yaml", _load_value, (YAMLError,))
    parser = _new_parser(
        "Train, measure and draw an LSTM written out gate by gate and a fully connected GAN.",
        "reviver report                          train both and write report/report.html and .pdf\n"
        "reviver lstm train --out runs/lstm      train the LSTM of the report\n"
        'reviver lstm predict runs/lstm "1 2 3 2"\n'
        "reviver gan train --preset best --out runs/gan\n"
        "reviver gan interpolate runs/gan --from 3 --to 8\n"
        "reviver gan score runs/gan",
        version=reviver.__version__,
        prog="reviver",
    )
    commands = parser.add_subcommands(dest="command", metavar="COMMAND", required=True)
    _add(commands, "report", _report_parser())
    lstm = _add(commands, "lstm", _new_parser("Train and use the LSTM.", "reviver lstm train --help"))
    verbs = lstm.add_subcommands(dest="verb", metavar="COMMAND", required=True)
    _add(verbs, "train", _lstm_train_parser(arguments))
    _add(verbs, "evaluate", _lstm_evaluate_parser())
    _add(verbs, "predict", _lstm_predict_parser())
    _add(verbs, "curve", _lstm_curve_parser())
    _add(verbs, "trace", _lstm_trace_parser())
    gan = _add(commands, "gan", _new_parser("Train and use the GAN.", "reviver gan train --help"))
    verbs = gan.add_subcommands(dest="verb", metavar="COMMAND", required=True)
    _add(verbs, "train", _gan_train_parser(arguments))
    _add(verbs, "sample", _gan_sample_parser())
    _add(verbs, "interpolate", _gan_interpolate_parser())
    _add(verbs, "project", _gan_project_parser())
    _add(verbs, "score", _gan_score_parser())
    _add(verbs, "extractor", _gan_extractor_parser())
    return parser


def parse(arguments: Sequence[str]) -> Request:
    """Understand `arguments`.

    Raises:
        ConfigError: in our words, for anything that cannot be understood.
    """
    arguments = _with_flags_on([_with_underscores(argument) for argument in arguments])
    parser = build_parser(arguments)
    _check_before_parsing(arguments, parser)
    try:
        options = parser.parse_args(arguments)
        given = parser.parse_args(arguments, defaults=False)
    except ArgumentError as error:
        raise ConfigError(_explain(str(error), arguments, parser)) from error
    except OverflowError as error:  # of a whole number where any number may stand
        raise ConfigError(f"options: {error}; give numbers below 1e308") from error
    command: tuple[str, ...] = ()
    for level in ("command", "verb"):
        if level in options:
            word = options[level]
            command, options, given = (*command, word), options[word], given[word]
    _check_after_parsing(options)
    return Request(command, options, given.as_dict())


def requested_config(request: Request, base: Any) -> Any:
    """Return `base` with those of its fields changed that were given."""
    names = {field.name for field in dataclasses.fields(base)}
    return override(base, {name: value for name, value in request.given.items() if name in names})


def _check_before_parsing(arguments: Sequence[str], parser: ArgumentParser) -> None:
    """Refuse an unknown preset even with --print_config, and settings files that the parser has no good words for."""
    words, known = _place(arguments, parser)
    presets: Mapping[tuple[str, ...], Mapping[str, Any]] = {
        ("lstm", "train"): LSTM_PRESETS,
        ("gan", "train"): GAN_PRESETS,
    }
    if tuple(words) not in presets:
        return
    choose_preset(presets[tuple(words)], _preset_asked_for(arguments))
    for path in _values_of("--config", arguments):
        _check_settings_file(Path(path), [option.removeprefix("--") for option in known])


def _check_settings_file(path: Path, known: Sequence[str]) -> None:
    """Refuse a settings file that cannot be read or holds something other than options."""
    try:
        settings = read_settings(path)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"config: {path} cannot be read ({reason}); give a YAML or JSON file") from error
    except ValueError as error:
        raise ConfigError(f"config: {path} is neither YAML nor JSON ({one_line(error)}); correct the file") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"config: {path} holds no settings; write one a line, such as epochs: 20")
    for name, value in settings.items():
        if name not in known:
            advice = _suggestion(str(name)[:MAX_NAME], known) or f"the settings are {', '.join(known)}"
            raise ConfigError(f"config: {path} sets {shown(name)}, which is no setting; {advice}")
        if name in NOT_IN_FILES:
            raise ConfigError(f"config: {path} sets {name}, which only the command line may; take it out")
        if not isinstance(value, (str, int, float)) and value is not None:
            raise ConfigError(f"config: {path} sets {name} to {shown(value)}; give a text, a number, true or false")
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            raise ConfigError(f"config: {path} sets {name} to {shown(value)}; give a number below 1e308")


def _check_after_parsing(options: Namespace) -> None:
    """Refuse values that the parser lets pass."""
    for name in ("resume", "json", "quiet", "debug"):
        if name in options:
            check_flag(name, options[name])
    if options.get("out", None) == "":
        raise ConfigError("out: '' is not possible; give a path, or leave --out out")


# The options of each command


def _report_parser() -> ArgumentParser:
    parser = _new_parser(
        "Train both networks, or reuse finished runs, and write report.html and report.pdf.",
        "reviver report --out report\nreviver report --full                   with the report's 200 epochs of the GAN",
    )
    parser.add_argument("--out", type=str, default="report", metavar="DIR", help="Folder of the report and its runs.")
    full, best = GAN_PRESETS["report"].epochs, GAN_PRESETS["best"].epochs
    parser.add_argument(
        "--full",
        action="store_true",
        help=f"Train the GAN by the preset report, {full} epochs as the original, instead of by best, {best} epochs.",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="The first of the seeds.")
    return _with_common_options(parser)


def _lstm_train_parser(arguments: Sequence[str]) -> ArgumentParser:
    examples = (
        "reviver lstm train                             the report's run, into runs/lstm-report-seed0\n"
        "reviver lstm train --length 9 --input onehot --out runs/nine\n"
        "reviver lstm train --out runs/nine --resume    go on after Ctrl-C\n"
        "reviver lstm train --length 1000 --grow --input onehot --max_norm 1\n"
        "reviver lstm train --data mine.csv --out runs/mine\n"
        "reviver lstm train --print_config >lstm.yaml   then --config lstm.yaml"
    )
    return _train_parser("Train an LSTM on a memory task.", examples, LSTMConfig, LSTM_PRESETS, arguments)


def _lstm_evaluate_parser() -> ArgumentParser:
    parser = _new_parser(
        "Measure a trained LSTM at one length or several.",
        "reviver lstm evaluate runs/lstm --length 5 --length 10 --length 20\n"
        "reviver lstm evaluate runs/recall --length 1000 --length 100000 --length 1000000 --out generalisation.pdf",
    )
    _add_run(parser, "LSTM")
    parser.add_argument(
        "--length",
        type=int,
        nargs=1,
        action="extend",
        metavar="T",
        help="Length of the sequences; may be repeated. By default the run's.",
    )
    parser.add_argument(
        "--size",
        type=int,
        metavar="N",
        help="Fresh sequences, or the first test images; by default 10 000, but no more than 100 million steps.",
    )
    parser.add_argument(
        "--out", type=str, metavar="FILE", help="Draw accuracy over length into this .pdf, .png or .svg."
    )
    return _with_common_options(_with_checkpoint(parser))


def _lstm_curve_parser() -> ArgumentParser:
    parser = _new_parser(
        "Train networks over lengths and seeds and draw how far back they remember: the recall curve.",
        "reviver lstm curve                      the whole curve, into runs/curve (half an hour on two cores)\n"
        "reviver lstm curve --length 10 --length 100 --seeds 2 --network growing --network fixed --out runs/small\n"
        "reviver lstm curve --out runs/small     again after Ctrl-C: what is finished is not run again",
    )
    repeated: dict[str, Any] = {"nargs": 1, "action": "extend"}
    parser.add_argument(
        "--length", type=int, metavar="T", help="Length of the palindromes; may be repeated.", **repeated
    )
    parser.add_argument(
        "--network",
        type=str,
        metavar="NAME",
        help="fixed, growing, chrono or rnn; may be repeated. By default all.",
        **repeated,
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="Seeds of each network and length.")
    parser.add_argument(
        "--sequences", type=int, default=64_000, metavar="N", help="The most training sequences of each run."
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="Runs side by side; by default one a core.")
    parser.add_argument("--out", type=str, default="runs/curve", metavar="DIR", help="Folder of the runs and figures.")
    return _with_common_options(parser)


def _lstm_predict_parser() -> ArgumentParser:
    parser = _new_parser(
        "Say which digit a trained LSTM expects next, or, of own data, the class of each sequence of a file.",
        'reviver lstm predict runs/lstm "1 2 3 2"\nreviver lstm predict runs/own new.csv --out predictions.csv',
    )
    _add_run(parser, "LSTM")
    parser.add_argument(
        "digits", metavar="DIGITS", type=str, help='Digits such as "1 2 3 2", or a .csv, .parquet or .npz file.'
    )
    parser.add_argument(
        "--out", type=str, metavar="FILE", help="Where the predictions of a file go; by default predictions.csv."
    )
    return _with_common_options(_with_checkpoint(parser))


def _lstm_trace_parser() -> ArgumentParser:
    parser = _new_parser(
        "Draw what a trained LSTM computes at each step: gates, states, probabilities, gradients.",
        'reviver lstm trace runs/lstm "1 2 3 2"                   into trace.pdf\n'
        'reviver lstm trace runs/deep "1 2 3 2" --layer 1 --out layer1.png\n'
        'reviver lstm trace runs/long "$(cat digits.txt)" --json',
    )
    _add_run(parser, "LSTM")
    parser.add_argument(
        "digits",
        metavar="DIGITS",
        type=str,
        help='A palindrome without its last digit, such as "1 2 3 2"; the right answer is the first digit.',
    )
    parser.add_argument(
        "--layer",
        type=int,
        metavar="N",
        help="The layer to draw: 1 reads the digits; by default the last, which answers.",
    )
    parser.add_argument(
        "--direction",
        type=str,
        default="forward",
        metavar="WAY",
        help="Of a bidirectional run: forward or backward.",
    )
    parser.add_argument("--out", type=str, default="trace.pdf", metavar="FILE", help="Where to: .pdf, .png or .svg.")
    return _with_common_options(_with_checkpoint(parser))


def _gan_train_parser(arguments: Sequence[str]) -> ArgumentParser:
    examples = (
        "reviver gan train --preset best --out runs/gan     a few minutes on MNIST\n"
        "reviver gan train --score_every 1 --score_samples 10000\n"
        "reviver gan train --data photos/ --size 32 --epochs 50 --out runs/photos\n"
        "reviver gan train --out runs/photos --resume       go on after Ctrl-C"
    )
    return _train_parser("Train a GAN on MNIST or on your own images.", examples, GANConfig, GAN_PRESETS, arguments)


def _gan_sample_parser() -> ArgumentParser:
    parser = _new_parser(
        "Draw new images from a trained GAN.",
        "reviver gan sample runs/gan --n 25 --out grid.png\n"
        "reviver gan sample runs/conditional --digit 7\n"
        "reviver gan sample runs/gan --n 10000 --out samples.npz",
    )
    _add_run(parser, "GAN")
    parser.add_argument("--n", type=int, default=25, metavar="N", help="How many images.")
    parser.add_argument(
        "--digit", type=int, metavar="DIGIT", help="The digit, or other class, to draw; of a run with --conditional."
    )
    parser.add_argument(
        "--out",
        type=str,
        default="grid.png",
        metavar="FILE",
        help="A grid as .png, .pdf or .svg, or .npz with images float32 [N, C, H, W] in [-1, 1] and latents [N, Z].",
    )
    return _with_common_options(_with_seed(parser))


def _gan_interpolate_parser() -> ArgumentParser:
    parser = _new_parser(
        "Draw the way from one image to another through latent space.",
        "reviver gan interpolate runs/gan --from 3 --to 8 --labels\n"
        "reviver gan interpolate runs/gan --from_image a.png --to_image b.png\n"
        "reviver gan interpolate runs/gan --measure                   confidence, switches, lengths of both paths\n"
        "reviver gan interpolate runs/fashion --measure --extractor fashion.safetensors",
    )
    _add_run(parser, "GAN")
    parser.add_argument("--from", type=int, metavar="DIGIT", help="Digit to start from; by default any.")
    parser.add_argument("--to", type=int, metavar="DIGIT", help="Digit to end at; by default any other.")
    parser.add_argument(
        "--from_image", type=str, metavar="FILE", help="Image to start from, as the generator draws it."
    )
    parser.add_argument("--to_image", type=str, metavar="FILE", help="Image to end at.")
    parser.add_argument("--steps", type=int, default=7, metavar="N", help="Images between the two ends.")
    parser.add_argument(
        "--path", type=str, default="linear", metavar="PATH", help="The way through latent space: linear or spherical."
    )
    parser.add_argument(
        "--labels", action="store_true", help="Write under each image the digit it is taken for, and how surely."
    )
    parser.add_argument(
        "--measure",
        action="store_true",
        help="Measure the linear and the spherical path between the ends: draw the classes' probabilities under the images, "
        "and print where the class switches and how long the way is.",
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=100,
        metavar="N",
        help="With --measure: pairs of random noise that both paths are also measured between.",
    )
    parser.add_argument("--extractor", type=str, metavar="FILE", help=EXTRACTOR_HELP)
    parser.add_argument(
        "--out", type=str, default="interpolation.pdf", metavar="FILE", help="Where to: .pdf, .png or .svg."
    )
    return _with_common_options(_with_seed(parser))


def _gan_project_parser() -> ArgumentParser:
    parser = _new_parser(
        "Find what a trained GAN draws nearest to images of yours, and from which noise.",
        "reviver gan project runs/gan three.png eight.png --out projection.png",
    )
    _add_run(parser, "GAN")
    parser.add_argument("images", metavar="IMAGE", type=str, nargs="+", help="Image files; cut square and resized.")
    parser.add_argument(
        "--out", type=str, default="projection.pdf", metavar="FILE", help="Where to: .pdf, .png or .svg."
    )
    return _with_common_options(_with_seed(parser))


def _gan_score_parser() -> ArgumentParser:
    parser = _new_parser(
        "Score a trained GAN: FID, KID, precision, recall, classes, nearest training images.",
        "reviver gan score runs/gan\n"
        "reviver gan score runs/gan --out nearest.png                 samples above their nearest training images\n"
        "reviver gan score runs/gan --n 2000 --seed 1 --json\n"
        "reviver gan score runs/fashion --extractor fashion.safetensors",
    )
    _add_run(parser, "GAN")
    parser.add_argument(
        "--n", type=int, default=10_000, metavar="N", help="How many samples; compare only scores of the same number."
    )
    parser.add_argument("--extractor", type=str, metavar="FILE", help=EXTRACTOR_HELP)
    parser.add_argument(
        "--out",
        type=str,
        metavar="FILE",
        help="Draw 25 samples, below them the nearest training images by pixels and by features: .png, .pdf or .svg.",
    )
    return _with_common_options(_with_seed(parser))


def _gan_extractor_parser() -> ArgumentParser:
    parser = _new_parser(
        "Train a classifier of other labelled images, through whose features GANs that learned them are scored.",
        "reviver gan extractor --data fashion-mnist --out fashion.safetensors   minutes\n"
        "reviver gan score runs/fashion --extractor fashion.safetensors",
    )
    parser.add_argument(
        "--data",
        type=str,
        required=True,
        metavar="PATH",
        help="Labelled images: a data set's name, an IDX folder, an image folder with a folder for each class, or an .npz.",
    )
    parser.add_argument("--size", type=int, default=28, metavar="N", help="Height and width, as that of the GAN.")
    parser.add_argument(
        "--out", type=str, default="extractor.safetensors", metavar="FILE", help="Where its weights go."
    )
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="Passes over the images.")
    return _with_common_options(parser)


def _train_parser(
    description: str, examples: str, config: type, presets: Mapping[str, Any], arguments: Sequence[str]
) -> ArgumentParser:
    """Options of a training command: its configuration's fields, and where the run goes."""
    parser = _new_parser(description, examples)
    parser.add_argument("--config", action="config", metavar="FILE", help="Read settings from a YAML or JSON file.")
    parser.add_argument(
        "--preset", type=str, default="report", metavar="NAME", help=f"Settings to start from: {', '.join(presets)}."
    )
    parser.add_argument("--out", type=str, metavar="DIR", help="The run folder; by default a new one in runs/.")
    parser.add_argument("--resume", action="store_true", help="Go on with the interrupted run in --out.")
    parser.add_class_arguments(config, as_group=True)
    shown = _preset_asked_for(arguments)
    if shown in presets:
        parser.set_defaults(preset=shown, **dataclasses.asdict(presets[shown]))
    return _with_common_options(parser)


def _add_run(parser: ArgumentParser, network: str) -> None:
    parser.add_argument("run", metavar="RUN", type=str, help=f"Run folder of a trained {network}.")


def _with_checkpoint(parser: ArgumentParser) -> ArgumentParser:
    parser.add_argument(
        "--checkpoint", type=str, default="last", metavar="WHICH", help="Weights to use: last, or best (in validation)."
    )
    return parser


def _with_seed(parser: ArgumentParser) -> ArgumentParser:
    parser.add_argument("--seed", type=int, metavar="N", help="Seed of the noise; by default the run's.")
    return parser


_load_yaml = get_loader("yaml")


def _load_value(text: str) -> Any:
    """Read a value as YAML.

    Raises:
        YAMLError: if it is none, also where PyYAML raises KeyError, AttributeError ... for a tag that does not fit.
    """
    try:
        return _load_yaml(text)
    except YAMLError:
        raise
    except Exception as error:
        raise YAMLError(f"{text!r} is no YAML: {error}") from error


def _with_common_options(parser: ArgumentParser) -> ArgumentParser:
    parser.add_argument("--device", type=str, default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:0 or mps.")
    parser.add_argument("--json", action="store_true", help="Print the result as JSON.")
    parser.add_argument("--quiet", action="store_true", help="Show no progress.")
    parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    return parser


def _new_parser(description: str, examples: str, **settings: Any) -> ArgumentParser:
    """Return a parser with examples below its help, which raises instead of ending the process."""
    indented = "\n".join(f"  {line}" for line in examples.splitlines())
    return ArgumentParser(
        description=description,
        epilog=f"examples:\n{indented}",
        formatter_class=HelpFormatter,
        exit_on_error=False,
        **settings,
    )


def _add(subcommands: Any, name: str, parser: ArgumentParser) -> ArgumentParser:
    subcommands.add_subcommand(name, parser, help=parser.description)
    return parser


def _preset_asked_for(arguments: Sequence[str]) -> str:
    """Find the value of --preset before parsing."""
    return next(reversed(_values_of("--preset", arguments)), "report")


def _values_of(option: str, arguments: Sequence[str]) -> list[str]:
    """All values that `option` has in `arguments`, before parsing."""
    values = [value for name, value in pairwise(arguments) if name == option]
    return values or [one.removeprefix(f"{option}=") for one in arguments if one.startswith(f"{option}=")]


def _with_flags_on(arguments: Sequence[str]) -> list[str]:
    """Take a setting that is true or false and stands without a value, such as --grow, for --grow=true."""
    flags = {
        f"--{field.name}"
        for config in (LSTMConfig, GANConfig)
        for field in dataclasses.fields(config)
        if field.type is bool
    }
    followers = [*arguments[1:], "--"]
    return [
        f"{argument}=true" if argument in flags and follower.startswith("--") else argument
        for argument, follower in zip(arguments, followers, strict=True)
    ]


def _with_underscores(argument: str) -> str:
    """Take --data-size for --data_size."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return "--" + name.replace("-", "_") + equals + value


# What is said of a wrong argument


def _explain(message: str, arguments: Sequence[str], parser: ArgumentParser) -> str:
    """Turn a message of the parser into one line that names the field, the value and the remedy."""
    words, known = _place(arguments, parser)
    command = " ".join(["reviver", *words])
    see_help = f"see {command} --help"

    def superfluous(wrong: str) -> str:
        option = re.split(r"[\s=]", wrong, maxsplit=1)[0]
        if option.startswith("-"):
            return f"{option}: there is no such option; {_suggestion(option, known) or see_help}"
        return f"{option}: is one argument too many (quote a text that has spaces); {see_help}"

    def unknown_command(wrong: str, choices: str) -> str:
        advice = _suggestion(wrong, known) or f"choose from {choices}".replace("'", "")
        return f"command: {wrong!r} is unknown; {advice}"

    def impossible(option: str, wanted: str, value: str) -> str:
        return f"{_option(option)}: {shown(value.strip(), MAX_VALUE)} is not possible; give {_in_words(wanted)}"

    explanations: dict[str, Callable[..., str]] = {
        r'Parser key "([^"]+)":\s*Expected a (.+?)\. Got value: (.*)': impossible,
        r"""Parser key "([^"]+)":.* any of the Union subtypes.*?<class '(\w+)'>.*Given value: (.*)""": impossible,
        r"argument (\S+): invalid (\w+) value: (.*)": lambda option, wanted, value: (
            f"{_option(option)}: {value} is not possible; give {_in_words(wanted)}"
        ),
        r"argument (\S+): expected (?:one|1) argument": lambda option: (
            f"{_option(option)}: no value is given after it; {see_help}"
        ),
        r"arguments are required: (.*)": lambda options: (
            f"{', '.join(_option(one).upper() for one in options.split(', '))}: not given; {see_help}"
        ),
        r"unrecognized arguments: (.+)": superfluous,
        r"invalid choice: '([^']*)' \(choose from (.*)\)": unknown_command,
        r"to be one of \{([^}]*)\}, but it was not provided": lambda choices: (
            f"command: none is given after {command}; choose from {choices.replace(',', ', ')}"
        ),
    }
    for pattern, explain in explanations.items():
        if match := re.search(pattern, message, re.DOTALL):
            return explain(*match.groups())
    return f"{one_line(message, MAX_VALUE)}; {see_help}"


def _option(name: str) -> str:
    """The name of an option as it is typed, without dashes: `length` of `--length` and of `lstm.train.length`."""
    return name.removeprefix("--").rpartition(".")[2]


def _place(arguments: Sequence[str], parser: ArgumentParser) -> tuple[list[str], list[str]]:
    """The words of the command in `arguments`, and the options and commands that are known there."""
    words: list[str] = []
    current: Any = parser
    while True:
        choices = next((action.choices for action in current._actions if hasattr(action, "add_subcommand")), None) or {}
        word = arguments[len(words)] if len(words) < len(arguments) else None
        if word not in choices:
            options = [option for action in current._actions for option in action.option_strings]
            return words, [*choices, *(option for option in options if option.startswith("--"))]
        words.append(str(word))
        current = choices[word]


def _suggestion(wrong: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else ""


def _in_words(wanted: str) -> str:
    """Say a type in words."""
    if match := re.search(r"Literal\[(.*)\]", wanted):
        return f"one of {match[1]}".replace("'", "")
    names = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
    return next((words for name, words in names.items() if name in wanted), wanted)
