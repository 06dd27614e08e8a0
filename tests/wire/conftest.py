"""Tests of the wire format; ``linux`` is what Linux 6.1's headers say (see header_layout.py)."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# pytest's importlib mode puts no directory on the path, and header_layout.py is a program as well as a module.
sys.path.insert(0, str(Path(__file__).parent))

# A busy machine is no bug in a codec.
settings.register_profile("wire", deadline=None)
settings.load_profile("wire")


@pytest.fixture(scope="session")
def linux() -> dict[str, Any]:
    layout: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data/wire_layout_linux_6_1.json").read_text())
    return layout
