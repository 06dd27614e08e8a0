"""Files that a command writes because its user has named them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol.errors import OperatorError


def save(path: str, content: str | bytes) -> None:
    """Raises OperatorError if it cannot be written."""
    try:
        Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise OperatorError(f"cannot write {path}: {error.strerror}") from None


def save_json(path: str, plain: Any) -> None:
    """The same, for plain data."""
    save(path, json.dumps(plain, indent=2) + "\n")
