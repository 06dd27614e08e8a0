"""What the tests of this directory share."""

from collections.abc import Iterator

import pytest

from protocol.shell.memory import GuestRam
from tests.vsp.image import blank
from tests.vsp.storvsc import PAGE, StorVsc


@pytest.fixture(scope="module")
def ram() -> Iterator[GuestRam]:
    memory = GuestRam.create(256 * PAGE, "test-vsp")
    yield memory
    memory.close()


@pytest.fixture
def guest(ram: GuestRam) -> StorVsc:
    """storvsc after its handshake."""
    ready = StorVsc(ram, blank())
    ready.initialise()
    return ready
