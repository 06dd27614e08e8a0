"""Where the guest's RNDIS messages are: in a section of the send buffer, in pages of the packet, or in both."""

from typing import Final

from host.vsp.net.shared_buffer import SharedBuffer
from protocol.errors import PeerError
from protocol.ram import Ram
from protocol.ring import Packet, PacketType
from protocol.ring.gpa_direct import parse
from protocol.wire.nvsp import RndisPacket
from protocol.wire.nvsp_numbers import NO_SECTION

SECTION_SIZE: Final = 6144
"""The host's choice; every Hyper-V and OpenVMM make it."""
MAX_MESSAGES: Final = 128 << 10
"""Bytes of messages in one packet: a full section, and the largest frame of any offload."""


class SendBuffer:
    """Sections that the guest numbers from 0."""

    def __init__(self, buffer: SharedBuffer) -> None:
        self.sections = buffer.size // SECTION_SIZE
        self._buffer = buffer

    def read(self, message: RndisPacket) -> bytes:
        """The bytes in the message's section. Raises PeerError: no such section, or more than it holds."""
        index, size = message.section_index, message.section_size
        if index >= self.sections or size > SECTION_SIZE:
            raise PeerError(f"netvsc: {size} bytes in section {index} of {self.sections}")
        return self._buffer.read(index * SECTION_SIZE, size)


def rndis_messages(message: RndisPacket, packet: Packet, send_buffer: SendBuffer, ram: Ram) -> bytes:
    """A copy of the RNDIS messages of one packet: what is in the section, and behind it what is in the pages.

    ``netvsc_send`` makes use of both when the headers of a large frame still fit into a section of small ones.
    Raises PeerError for a section or pages that are none, or for nothing at all.
    """
    data = b"" if message.section_index == NO_SECTION else send_buffer.read(message)
    if packet.type == PacketType.GPA_DIRECT:
        ranges = parse(packet.header)
        if (total := len(data) + sum(gpa_range.byte_count for gpa_range in ranges)) > MAX_MESSAGES:
            raise PeerError(f"netvsc: {total} bytes of RNDIS messages in one packet")
        data += b"".join(view for gpa_range in ranges for view in ram.views(gpa_range))
    if not data:
        raise PeerError("netvsc: RNDIS packet with neither section nor pages")
    return data
