"""Ring buffers: how the two ends of a channel pass packets through memory that they share.

Layout and rules are those of the kernel's ``drivers/hv/ring_buffer.c`` and OpenVMM's ``vmbus_ring``, so either end may
be this code or theirs. Cores only: no clock, no files, no sockets; where to signal is the caller's business.

Points, in the order in which they are passed: ``ring.write.loaded``, ``ring.write.published``,
``ring.write.mask_loaded``, ``ring.write.wanting``; ``ring.read.looked``, ``ring.read.released``,
``ring.read.wish_seen``, ``ring.read.unmasked``.
"""

from protocol.ring.memory import Fence, Point, RingCorrupt, RingMemory
from protocol.ring.packet import COMPLETION_REQUESTED, Packet, PacketType, ring_bytes
from protocol.ring.reader import RingReader
from protocol.ring.writer import RingWriter

__all__ = [
    "COMPLETION_REQUESTED",
    "Fence",
    "Packet",
    "PacketType",
    "Point",
    "RingCorrupt",
    "RingMemory",
    "RingReader",
    "RingWriter",
    "ring_bytes",
]
