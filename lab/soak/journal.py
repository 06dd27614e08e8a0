"""The journal of a soak: in a file without a name as long as nobody knows whether it will be wanted."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lab.spec import VmSpec
from protocol.errors import OperatorError


@contextmanager
def journal_for(spec: VmSpec) -> Iterator[VmSpec]:
    """The VM with a journal: the one that it names, or one of which nothing is left, however we end."""
    if spec.trace is not None:
        yield spec
        return
    with tempfile.TemporaryFile() as file:
        yield replace(spec, trace=f"/proc/{os.getpid()}/fd/{file.fileno()}")


def keep_journal(spec: VmSpec, path: str) -> None:
    """Give the journal of a VM that has ended its name. Raises OperatorError if it cannot have it."""
    if spec.trace is None or spec.trace == path:
        return
    try:
        shutil.copyfile(spec.trace, path)
    except OSError as error:
        raise OperatorError(f"cannot keep the journal as {path}: {error.strerror}") from None
