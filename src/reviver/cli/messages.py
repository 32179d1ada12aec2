"""Messages for wrong command lines and failures, in one line: option, value, what is allowed, what to do."""

import re
from collections.abc import Iterable, Sequence
from typing import get_origin

import pydantic
from cyclopts import exceptions
from cyclopts.annotations import resolve_optional

from reviver.errors import ConfigError, Interrupted, ReviverError
from reviver.settings.validation import MAX_VALUE, check, find_problem
from reviver.text import did_you_mean, one_line, short_repr

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def explain(error: exceptions.CycloptsError) -> str:  # noqa: PLR0911  # a return for each kind of error
    """Return the message for an error of the parser."""
    command = " ".join(["reviver", *(error.command_chain or ())])
    see_help = f"see {command} --help"
    argument = error.argument
    name = "" if argument is None else argument.name if argument.name.startswith("-") else argument.name.upper()
    match error:
        case exceptions.UnknownOptionError():
            wrong = (error.token.keyword or error.token.value).partition("=")[0]
            names = [name for argument in error.argument_collection for name in argument.names]
            return f"{wrong} is unknown; {suggest_option(wrong, names) or see_help}"
        case exceptions.UnknownCommandError():
            wrong = (error.unused_tokens or [""])[0]
            known = [name for name in (error.app or ()) if not name.startswith("-")]
            if wrong.startswith("-"):
                return f"{wrong.partition('=')[0]} is unknown; {see_help}"
            advice = did_you_mean(wrong, known) or "choose from " + ", ".join(known)
            return f"command {short_repr(wrong)} is unknown; {advice}"
        case exceptions.UnusedCliTokensError(unused_tokens=[first, *_]):
            return f"{short_repr(first)} is an unexpected argument (quote text that contains spaces); {see_help}"
        case exceptions.MissingArgumentError():
            return f"{name} {'is missing' if error.keyword is None else 'requires a value'}; {see_help}"
        case exceptions.RepeatArgumentError():
            return f"{error.token.keyword} may be given only once"
        case exceptions.CoercionError() if argument is not None:
            tokens = [error.token] if error.token is not None else argument.tokens
            value = " ".join(token.value for token in tokens)
            is_list = get_origin(resolve_optional(argument.hint)) is list
            if argument.parameter.choices:
                presets = argument.get_choices() or ()
                advice = did_you_mean(value, presets) or f"choose from {', '.join(presets)}"
                return f"{name} {short_repr(value)} is unknown; {advice}"
            try:
                check(name, [value] if is_list else value, argument.field_info.annotation)
            except ConfigError as problem:
                return str(problem)
        case exceptions.ValidationError(__cause__=pydantic.ValidationError() as cause):
            return f"{name} {find_problem(cause).text}"
    return f"{one_line(error, MAX_VALUE)}; {see_help}"


def suggest_option(wrong: str, names: Iterable[str]) -> str:
    """Return "did you mean --OPTION?" for a name that resembles one, or has its initials: --lr for --learning-rate."""
    wrong = wrong.replace("_", "-")
    known = [name for name in names if name.startswith("--")]
    initials = {"--" + "".join(word[0] for word in name[2:].split("-") if word): name for name in known}
    return f"did you mean {initials[wrong]}?" if wrong in initials else did_you_mean(wrong, known)


def describe_failure(error: BaseException, arguments: Sequence[str]) -> tuple[str, int]:
    """Return the message of an error of the command line `arguments`, empty if there is nothing to print, and the exit code."""
    match error:
        case ReviverError() | Interrupted():
            return _name_option(error, arguments), error.exit_code
        case KeyboardInterrupt():
            return "stopped by Ctrl-C", INTERRUPTED
        case BrokenPipeError():  # the reader of stdout has closed the pipe
            return "", 0
        case OSError():  # not from a file that we write: files/read.py turns those into RunFolderError
            return f"{error.filename or 'output'}: {error.strerror or error}; fix this and run the command again", 1
        case MemoryError() | RuntimeError() if isinstance(error, MemoryError) or "memory" in str(error):
            return "out of memory; use smaller sizes or batches", 1
    return f"{type(error).__name__}: {error}; run again with --debug, and report this bug", 1


def _name_option(error: ReviverError | Interrupted, arguments: Sequence[str]) -> str:
    """Return the message of an error, which begins with an option as it is typed instead of the name of a setting."""
    message, typed = str(error), {word.partition("=")[0] for word in arguments}
    found = re.match(r"(\w+)(:?) ", message)
    if found is None or found[1] not in {getattr(error, "field", ""), "device", "data", "extractor"}:
        return message
    if found[1] in ("data", "extractor") and f"--{found[1]}" not in typed and not getattr(error, "field", ""):
        return message[found.end() :] if found[2] else message  # of a run, whose command read it
    return f"--{found[1].replace('_', '-')} {message[found.end() :]}"
