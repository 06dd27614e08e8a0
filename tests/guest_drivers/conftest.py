"""What the tests of this directory share."""

from collections.abc import Iterator

import pytest

from protocol.ids import PAGE_SIZE
from protocol.shell.memory import GuestRam


@pytest.fixture(scope="module")
def ram() -> Iterator[GuestRam]:
    memory = GuestRam.create(4096 * PAGE_SIZE, "test-guest-drivers")
    yield memory
    memory.close()
