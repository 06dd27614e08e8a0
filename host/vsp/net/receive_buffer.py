"""The receive buffer: one section of equal sub-allocations, each of which holds one RNDIS message until it is read.

The host lends a sub-allocation to the guest with a transfer-page packet and may not touch it before the guest's
completion. The first few are for control messages alone (OpenVMM, ``RX_RESERVED_CONTROL_BUFFERS``), so that a guest
which is flooded with frames still gets its answers.
"""

from collections.abc import Iterable
from typing import Final

from host.vsp.net.shared_buffer import SharedBuffer
from protocol.ring.transfer_pages import TransferRange

CONTROL_RESERVE: Final = 16
HEADROOM: Final = 256
"""What a sub-allocation has beside the frame: RNDIS header and per-packet information (OpenVMM, ``RX_HEADER_LEN``)."""
LARGEST_CONTROL: Final = 1024
"""Bytes of any control message that is answered; a sub-allocation is never smaller."""


class ReceiveBuffer:
    """``count`` sub-allocations of ``sub_alloc_size`` bytes, and which of them are free."""

    def __init__(self, buffer: SharedBuffer, largest_frame: int) -> None:
        self.sub_alloc_size = max(HEADROOM + largest_frame, LARGEST_CONTROL)
        self.count = buffer.size // self.sub_alloc_size
        self._buffer = buffer
        self._control = list(range(min(CONTROL_RESERVE, self.count)))
        self._data = list(range(CONTROL_RESERVE, self.count))

    @property
    def usable(self) -> bool:
        """Whether there is room for a frame beside the control messages."""
        return self.count > CONTROL_RESERVE

    @property
    def free(self) -> int:
        """Sub-allocations for frames that nobody uses."""
        return len(self._data)

    def put_frame(self, message: bytes) -> TransferRange | None:
        """Write a data message, at most ``sub_alloc_size`` long, into a free sub-allocation; None if there is none."""
        return self._put(self._data, message)

    def put_control(self, message: bytes) -> TransferRange | None:
        """Write a control message."""
        return self._put(self._control, message)

    def _put(self, pool: list[int], message: bytes) -> TransferRange | None:
        if not pool:
            return None
        offset = pool.pop() * self.sub_alloc_size
        self._buffer.write(offset, message)
        return TransferRange(len(message), offset)

    def give_back(self, ranges: Iterable[TransferRange]) -> None:
        """The guest has read these."""
        for _, offset in ranges:
            index = offset // self.sub_alloc_size
            (self._control if index < CONTROL_RESERVE else self._data).append(index)
