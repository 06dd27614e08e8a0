"""What the CPUs share of the controllers: the SCSI hosts by number, and what each of their channels has counted."""

from __future__ import annotations

from typing import Final

from guest.kernel.memory import Array, Bytes, Struct, Word
from guest.kernel.wait import WaitWords
from protocol.wire.vstor import PACKET_SIZE

MAX_HOSTS: Final = 64
"""Controllers at a time: the bits of ``ScsiHostWords.taken``."""
MAX_CPUS: Final = 64
"""The bits of ``alloced_cpus``."""


class ScsiHostWords(Struct):
    """``host_index_ida``."""

    taken = Word("connect CPU")
    """Bit n set: SCSI host n exists."""


class StorvscDevice(WaitWords):
    """``struct storvsc_device``, by SCSI host number. A primary channel has 0 in the whole of it before its probe.

    The wait queue is for requests that find no room, and for the one who waits until nothing is under way.
    """

    primary = Word("connect CPU")
    """relid of the primary channel; 0: there is no such host."""
    destroy = Word("connect CPU")
    """No request may be sent any more."""
    version = Word("connect CPU")
    """Protocol version, major << 8 | minor."""
    max_transfer = Word("connect CPU")
    """Bytes in one request."""
    num_sc = Word("connect CPU")
    """Sub-channels asked for."""
    scan_wanted = Word("channel callback; any CPU that misses a unit; 0 by the connect CPU")
    """A scan has been asked for and has not begun."""
    init_cpu = Word("connect CPU")
    """Who waits for the answer to a handshake packet."""
    init_done = Word("connect CPU before it sends, channel callback after")
    init_answer = Bytes(PACKET_SIZE, "channel callback")
    alloced_cpus = Word("stor_device lock")
    """Bit n set: a channel interrupts CPU n."""
    stor_chns = Array(MAX_CPUS, "stor_device lock")
    """relid of the channel that requests from a CPU take; 0: not decided yet."""


class StorChannelWords(Struct):
    """In the driver area of a primary or sub-channel. The callback of a channel runs on one CPU at a time."""

    host_no = Word("connect CPU")
    """SCSI host number, as in ``lsscsi -H``."""
    completions = Word("channel callback")
    unsolicited = Word("channel callback")
    """ENUMERATE_BUS, REMOVE_DEVICE and others that the host sends without being asked."""
    unknown = Word("channel callback")
    """Answers to no request under way on this controller: logged by the kernel and dropped."""
    malformed = Word("channel callback")
    """Too short, or of an operation that needs a request."""
