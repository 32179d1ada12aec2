"""Messages for wrong command lines, in one line: option, value, what is allowed, what to do."""

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pydantic
from cyclopts import exceptions
from cyclopts.annotations import resolve_optional
from cyclopts.argument import Argument

from reviver.settings.validation import MAX_VALUE, find_problem
from reviver.text import did_you_mean, one_line, short_repr


def explain(error: exceptions.CycloptsError) -> str:
    """Return the message for an error of the parser."""
    command = " ".join(["reviver", *(error.command_chain or ())])
    see_help = f"see {command} --help"
    name = option_of(error.argument) if error.argument is not None else ""
    text = f"{one_line(error, MAX_VALUE)}; {see_help}"
    match error:
        case exceptions.UnknownOptionError():
            wrong = (error.token.keyword or error.token.value).partition("=")[0]
            names = [name for argument in error.argument_collection for name in argument.names]
            known = [name for name in names if name.startswith("--")]
            text = f"{wrong} is unknown; {did_you_mean(wrong.replace('_', '-'), known) or see_help}"
        case exceptions.UnknownCommandError():
            text = explain_command(error, command)
        case exceptions.UnusedCliTokensError(unused_tokens=[first, *_]):
            text = f"{short_repr(first)} is an unexpected argument (quote text that contains spaces); {see_help}"
        case exceptions.MissingArgumentError():
            text = f"{name} {'is missing' if error.keyword is None else 'requires a value'}; {see_help}"
        case exceptions.RepeatArgumentError():
            text = f"{error.token.keyword} may be given only once"
        case exceptions.CoercionError() if error.argument is not None:
            tokens = [error.token] if error.token is not None else error.argument.tokens
            value = " ".join(token.value for token in tokens)
            text = f"{name} must be {describe_type(error.argument.hint)}, got {short_repr(value, MAX_VALUE)}"
        case exceptions.ValidationError(__cause__=pydantic.ValidationError() as cause):
            text = f"{name} {find_problem(cause).text}"
    return text


def explain_command(error: exceptions.CycloptsError, command: str) -> str:
    """Return the message for an unknown command."""
    wrong = (error.unused_tokens or [""])[0]
    known = [name for name in (error.app or ()) if not name.startswith("-")]
    if wrong.startswith("-"):
        return f"{wrong.partition('=')[0]} is unknown; see {command} --help"
    return f"command {short_repr(wrong)} is unknown; {did_you_mean(wrong, known) or 'choose from ' + ', '.join(known)}"


def option_of(argument: Argument) -> str:
    """Return the name of an option as typed, or of a positional argument in capitals."""
    return argument.name if argument.name.startswith("-") else argument.name.upper()


def describe_type(hint: Any) -> str:
    """Return a type in words: "an integer", "a number", "true or false", or its choices."""
    hint = resolve_optional(hint)
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(describe_type(part) for part in get_args(hint))
    if get_origin(hint) is list:
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        *most, last = get_args(hint)
        return f"{', '.join(most)} or {last}" if most else last
    return {int: "an integer", float: "a number", bool: "true or false"}.get(hint, "text")
