"""The shared memories of a running VM, mapped by somebody outside it who only reads."""

from __future__ import annotations

import mmap
import os

from guest.kernel.memory import KernelMemory
from lab.guest_view import GuestView
from lab.rundir import REAL_KERNEL, VmInfo
from protocol.errors import OperatorError


class Memories:
    """Raises ``OperatorError`` if the VM cannot be looked into."""

    def __init__(self, info: VmInfo) -> None:
        if info.policy == REAL_KERNEL:
            raise OperatorError(f"VM '{info.name}' runs a real kernel: look into it from its console ('linux --keep')")
        try:
            self.ram = _map(info.memory_path(info.ram_fd))
            self.kernel = KernelMemory(_map(info.memory_path(info.kernel_fd)).cast("Q"))
        except OSError as error:
            raise OperatorError(f"cannot look into VM '{info.name}': {error.strerror}") from None
        self._name = info.name

    def guest(self) -> GuestView:
        """Raises ``OperatorError`` while the guest is still starting."""
        try:
            return GuestView(self.kernel)
        except LookupError:
            raise OperatorError(f"the guest of VM '{self._name}' is still starting: try again in a moment") from None


def _map(path: str) -> memoryview:
    """A mapping that goes with its last view."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return memoryview(mmap.mmap(fd, 0, prot=mmap.PROT_READ))
    finally:
        os.close(fd)
