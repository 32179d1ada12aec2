"""Types of the explorer's page: `python -m tools.explorer_types OUT` writes the manifest of explorer/manifest.py as TypeScript."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from reviver.data.sequences.standardization import Standardization
from reviver.explorer import manifest
from reviver.train.description import Item

PRIMITIVES = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
HEAD = """/**
 * The manifest that Python writes, which src/reviver/explorer/manifest.py explains; `python -m tools.explorer_types` writes this
 * file, `make explorer` runs it. JSON has a number that is not finite as null.
 */
"""


def typescript(annotation: Any) -> str:
    """Return the type of the JSON of an annotation."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(f'"{value}"' for value in arguments)
    types = [argument if argument is ... else typescript(argument) for argument in arguments]
    if origin in (Union, UnionType):
        return " | ".join(dict.fromkeys(types))
    if origin is tuple and types[-1] is not ...:
        return f"[{', '.join(types)}]"
    if origin is Mapping:
        return f"Record<string, {types[1]}>"
    if origin in (Sequence, tuple):
        return f"({types[0]})[]" if "|" in types[0] else f"{types[0]}[]"
    return PRIMITIVES.get(annotation) or str(annotation.__name__)


def member(name: str, hint: Any, text: str | None) -> str:
    """Return the line of a field, with what explains it."""
    line = f"  {to_camel(name)}: {typescript(hint)};"
    return f"{line} // {text}\n" if text else f"{line}\n"


def declaration(part: type) -> str:
    """Return the interface of a model or dataclass."""
    inherited = getattr(part.__base__, "model_fields", {})
    extends = f" extends {part.__base__.__name__}" if inherited else ""
    if issubclass(part, BaseModel):
        fields = {name: (field.annotation, field.description) for name, field in part.model_fields.items()}
        fields = {name: field for name, field in fields.items() if name not in inherited}
    else:
        fields = {name: (hint, None) for name, hint in get_type_hints(part).items()}
    lines = [member(name, hint, text) for name, (hint, text) in fields.items()]
    return f"\nexport interface {part.__name__}{extends} {{\n{''.join(lines)}}}\n"


def write_types() -> str:
    """Return the types of all parts of the manifest."""
    parts = [
        part for part in vars(manifest).values() if isinstance(part, type) and part.__module__ == manifest.__name__
    ]
    parts = [part for part in parts if issubclass(part, manifest.ManifestPart) and part is not manifest.ManifestPart]
    return HEAD + "".join(map(declaration, [Item, Standardization, *parts]))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(write_types(), encoding="utf-8")
