"""``KEY=VALUE`` on the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from protocol.errors import OperatorError


def parsed(settings: Iterable[str], flag: str = "") -> dict[str, Any]:
    """Values are TOML; a bare word is a string. Raises OperatorError for what has no equals sign, ``flag`` in front."""
    options: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise OperatorError(f"{flag}{setting}: write it as KEY=VALUE")
        try:
            options[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key] = value
    return options
