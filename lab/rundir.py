"""Run directories: one per running VM, mode 0700, holding its sockets and ``vm.json``; gone when the VM is.

The directory is how commands find a VM. What a killed supervisor could not remove is removed by whoever looks next.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from protocol.errors import OperatorError

SOCKET_PATH_MAX = 100
"""A Unix socket's path is at most 107 bytes; the longest name we put behind the directory is ``/cpu63``."""

REAL_KERNEL = "linux"
"""The policy of a VM whose guest is a real kernel: it has its own."""


def base() -> Path:
    """Where the run directories of this user are."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / f"vmbus-lab-{os.getuid()}"


@dataclass(slots=True)
class VmInfo:
    """``vm.json``: what another process needs to look into a running VM."""

    name: str
    supervisor: int
    pids: dict[str, int]
    ram_fd: int
    kernel_fd: int
    vcpus: int
    policy: str
    started: float

    @property
    def alive(self) -> bool:
        return Path(f"/proc/{self.supervisor}").exists()

    @property
    def directory(self) -> Path:
        return base() / self.name

    def memory_path(self, fd: int) -> str:
        """The path under which the supervisor's memfd can be opened."""
        return f"/proc/{self.supervisor}/fd/{fd}"

    def write(self) -> None:
        """Publish: readers see either no file or all of it."""
        part = self.directory / "vm.json.part"
        part.write_text(json.dumps(asdict(self)))
        part.rename(self.directory / "vm.json")


def create(name: str) -> Path:
    """Make the directory of a new VM. Raises ``OperatorError`` if a VM of that name runs."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", name):
        raise OperatorError(f"'{name}' is no name for a VM: use up to 32 letters, digits, '.', '_' and '-'")
    directory = base() / name
    if len(str(directory)) > SOCKET_PATH_MAX:
        raise OperatorError(f"{directory} is too long for a socket: set XDG_RUNTIME_DIR to a shorter directory")
    _sweep()
    new = _claim()
    try:
        new.rename(directory)  # refused if there is a directory with something in it
    except OSError:
        shutil.rmtree(new)
        raise OperatorError(f"a VM named '{name}' is running: choose another with --name") from None
    return directory


def _claim() -> Path:
    """A directory with our pid in it, not yet under any name. Raises ``OperatorError`` if there can be none."""
    while True:
        try:
            base().mkdir(mode=0o700, exist_ok=True)
            if base().stat().st_uid != os.getuid():
                raise OperatorError(f"{base()} belongs to somebody else: remove it or set XDG_RUNTIME_DIR")
            new = Path(tempfile.mkdtemp(prefix=f".new-{os.getpid()}-", dir=base()))
            (new / "pid").write_text(str(os.getpid()))
            return new
        except OSError as error:
            if base().parent.is_dir() and isinstance(error, FileNotFoundError):
                continue  # the last VM has ended in this moment and taken the common directory away
            raise OperatorError(
                f"cannot make a run directory in {base().parent} ({error.strerror}): set XDG_RUNTIME_DIR"
            ) from None


def remove(name: str, supervisor: int) -> None:
    """Remove the directory of the VM that ``supervisor`` made, and the common one if it was the last.

    Several processes may do so at once, and all but the last may end in the middle of it.
    """
    directory, old = base() / name, base() / f".old-{supervisor}"
    if _owner(directory) == supervisor:
        with suppress(FileNotFoundError):  # somebody else has
            directory.rename(old)  # at once: a process that is still there cannot put anything into it
    shutil.rmtree(old, ignore_errors=True)
    with suppress(OSError):
        base().rmdir()


def running() -> list[VmInfo]:
    """The VMs of this user that run now, by name."""
    _sweep()
    found = []
    for directory in _directories():
        try:
            found.append(VmInfo(**json.loads((directory / "vm.json").read_text())))
        except (OSError, ValueError, TypeError):
            continue
    return found


def find(name: str | None) -> VmInfo:
    """The running VM of that name, or the only one. Raises ``OperatorError``."""
    vms = running()
    if name is not None:
        vms = [vm for vm in vms if vm.name == name]
        if not vms:
            raise OperatorError(f"no VM named '{name}' is running: './launch.sh ps' lists them")
    if not vms:
        raise OperatorError("no VM is running: start one with './launch.sh run --duration 0' in another terminal")
    if len(vms) > 1:
        raise OperatorError(f"{len(vms)} VMs are running: choose one of {', '.join(v.name for v in vms)} with --name")
    return vms[0]


def _sweep() -> None:
    """Remove what VMs left whose supervisor was killed."""
    for directory in _directories():
        supervisor = _owner(directory)
        if supervisor is not None and not Path(f"/proc/{supervisor}").exists():
            remove(directory.name, supervisor)


def _directories() -> list[Path]:
    """What is in the common directory, which may go away at any time."""
    try:
        return sorted(base().iterdir())
    except FileNotFoundError:
        return []


def _owner(directory: Path) -> int | None:
    """The supervisor that made a run directory; None if it is gone. Of one half made or removed only the name tells."""
    if half := re.match(r"\.(new|old)-(\d+)", directory.name):
        return int(half[2])
    try:
        return int((directory / "pid").read_text())
    except (OSError, ValueError):
        return None
