"""The other end of QEMU's ivshmem device: eventfds in both directions (docs/specs/ivshmem-spec.txt of QEMU).

QEMU is a client that asks a server for shared memory and for one eventfd per vector and peer. We are that server and
its only other peer: our eventfds are the doorbells of the VPs, and those that QEMU listens on are the interrupts.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from guest.linux import layout
from protocol.ids import PAGE_SIZE, Sint, VpIndex

PROTOCOL_VERSION: Final = 0
QEMU_PEER: Final = 0
SHARED_MEMORY: Final = -1
INTERRUPT: Final = (1).to_bytes(8, "little")


class Doorbells:
    """``ring(vp, sint)`` interrupts the guest; ``fds[vp]`` is readable when a VP has rung."""

    def __init__(self, vcpus: int) -> None:
        self.vectors = vcpus * layout.SINTS
        self.fds = [_eventfd() for _ in range(vcpus)]
        self._interrupts = [_eventfd() for _ in range(self.vectors)]

    def greet(self, client: socket.socket) -> None:
        """Say everything that a server has to say; QEMU asks no more.

        Up to the shared memory QEMU reads while it makes the device, the rest when it runs. So the doorbells come
        first, other than the specification has it: the guest may ring at once. Early interrupts wait in their eventfds.
        """
        _send(client, PROTOCOL_VERSION)
        _send(client, QEMU_PEER)
        self._send_all(client, layout.BRIDGE_PEER, self.fds)
        memory = os.memfd_create("vmbus-lab:ivshmem", os.MFD_CLOEXEC)  # the device insists on having some
        os.ftruncate(memory, PAGE_SIZE)
        _send(client, SHARED_MEMORY, memory)
        os.close(memory)
        self._send_all(client, QEMU_PEER, self._interrupts)

    @staticmethod
    def _send_all(client: socket.socket, peer: int, fds: Sequence[int]) -> None:
        for fd in fds:
            _send(client, peer, fd)

    def ring(self, vp: VpIndex, sint: Sint) -> None:
        """Send the interrupt of a SINT; the shim has told the device which vector that is."""
        os.write(self._interrupts[vp * layout.SINTS + sint], INTERRUPT)

    def heard(self, vp: VpIndex) -> None:
        """Take the doorbell of a VP. QEMU makes the descriptors non-blocking, and it may have rung for nothing."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fds[vp])


def _eventfd() -> int:
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


def _send(client: socket.socket, number: int, fd: int | None = None) -> None:
    rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
    client.sendmsg([struct.pack("<q", number)], rights)
