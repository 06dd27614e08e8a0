"""From plain data (a VM file, an operator's request) to typed options, or one line that says what is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from protocol.errors import OperatorError

T = TypeVar("T")

STRICT: Final = ConfigDict(extra="forbid", strict=False)
"""For ``pydantic.dataclasses.dataclass(config=STRICT)``: a key that there is not is a mistake."""


def parse(shape: type[T], plain: Any, where: str) -> T:
    """``plain`` in the shape of a dataclass. Raises OperatorError: the key behind ``where``, and what is allowed."""
    try:
        return TypeAdapter(shape).validate_python(plain)
    except ValidationError as error:
        raise OperatorError(_line(shape, error, where)) from None


def plain(options: Any) -> dict[str, Any]:
    """The fields of a dataclass, as ``parse`` takes them."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}


def _line(shape: type, error: ValidationError, where: str) -> str:
    """The first mistake. Pydantic's messages are capitalised sentences that say what is allowed, except for two."""
    first = error.errors(include_url=False)[0]
    path = first["loc"]
    key = ": ".join(part for part in (where, ".".join(map(str, path))) if part)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: there is no such key; there are {', '.join(_keys(shape, path[:-1])) or 'none'}"
    if first["type"] in ("dict_type", "dataclass_type"):
        return f"{key}: input should be a table"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}"


def _keys(shape: type, path: tuple[int | str, ...]) -> Iterator[str]:
    """What may stand where ``path`` leads to."""
    for step in path:
        if isinstance(step, str):
            inner = get_type_hints(shape)[step]
            parts = [part for part in (inner, *get_args(inner)) if isinstance(part, type)]
            shape = next((part for part in parts if dataclasses.is_dataclass(part)), shape)
    yield from (field.name for field in dataclasses.fields(shape))
