"""What may stand in a VM file, told by the classes that it is checked against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any, Final

from pydantic import TypeAdapter

from host.catalogue import KINDS
from host.vmbus.options import HostOptions
from lab.vm_file import GuestOptions, Heading, VmFile

TABLES: Final = ("guest", "host", "device")
"""Keys of the file that are tables, and are told by themselves."""


def lines() -> Iterator[str]:
    """The keys, table by table: what is allowed, and what it is if nothing is said."""
    yield from _table("the file itself", VmFile)
    yield from _table("[guest]", GuestOptions)
    yield from _table("[host]", HostOptions)
    yield from _table("[[device]]", Heading)
    for name, kind in KINDS.items():
        yield from _table(f'[[device]] of kind "{name}"', kind.options)


def _table(heading: str, shape: type) -> Iterator[str]:
    keys = fields(shape)
    if not keys:
        return
    yield f"{heading}: {_told(shape)}"
    allowed = TypeAdapter(shape).json_schema()
    for key in keys:
        if key.name in TABLES:
            continue
        yield f"    {key.name:24} {_type(allowed['properties'][key.name], allowed.get('$defs', {}))}{_default(key)}"
    yield ""


def _told(shape: type) -> str:
    """Its docstring in one line."""
    return " ".join((shape.__doc__ or "").split()).replace("``", "")


def _type(schema: dict[str, Any], named: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        return _type(named[schema["$ref"].rpartition("/")[2]], named)
    if "anyOf" in schema:
        return " or ".join(_type(part, named) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"list of {_type(items, named)}"
    if schema.get("type") == "object":
        inner = schema.get("properties")
        if inner is None and "propertyNames" in schema:
            return f"{{ {_type(schema['propertyNames'], named)}: {_type(schema['additionalProperties'], named)} }}"
        if inner is None:
            return "table"
        return "{ " + ", ".join(f"{key}: {_type(part, named)}" for key, part in inner.items()) + " }"
    return f"{schema.get('type', 'anything')}{_bounds(schema)}"


def _bounds(schema: dict[str, Any]) -> str:
    words = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "exclusiveMaximum": "below",
        "multipleOf": "in units of",
    }
    return "".join(f" {word} {schema[key]}" for key, word in words.items() if key in schema)


def _default(key: Field[Any]) -> str:
    if key.default is not MISSING:
        value = key.default
    elif key.default_factory is not MISSING:
        value = key.default_factory()
    else:
        return "; must be said"
    if value in (None, (), [], {}):
        return ""
    if isinstance(value, tuple):
        value = json.dumps(value)
    return f"; {getattr(value, 'text', getattr(value, 'value', value))}"
