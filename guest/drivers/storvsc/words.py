"""What storvsc keeps for a controller in the driver area of its primary channel (``struct storvsc_device``)."""

from __future__ import annotations

from guest.kernel.memory import Bytes, Word
from guest.kernel.wait import WaitWords
from protocol.wire.vstor import PACKET_SIZE


class StorvscWords(WaitWords):
    """The wait queue is for requests that find no room, and for the one who waits until nothing is under way."""

    host_no = Word("probing CPU")
    """SCSI host number, as in ``lsscsi -H``."""
    version = Word("probing CPU")
    """Protocol version, major << 8 | minor."""
    max_transfer = Word("probing CPU")
    """Bytes in one request."""
    sub_channels_allowed = Word("probing CPU")
    """What the host would grant; 0 if it does not do multi-channel."""
    init_cpu = Word("probing CPU")
    """Who waits for the answer to a handshake packet."""
    init_done = Word("probing CPU before it sends, channel callback after")
    init_answer = Bytes(PACKET_SIZE, "channel callback")
    completions = Word("channel callback")
    unsolicited = Word("channel callback")
    """ENUMERATE_BUS, REMOVE_DEVICE and others that the host sends without being asked."""
    unknown = Word("channel callback")
    """Answers to no request under way on this channel: logged by the kernel and dropped."""
    malformed = Word("channel callback")
    """Too short, or of an operation that needs a request."""
