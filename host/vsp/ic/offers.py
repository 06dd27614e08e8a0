"""How integration components are offered: a message pipe, visible as an ordinary device."""

from typing import Final
from uuid import UUID

from host.vsp.device import Offer
from protocol.wire.offers import ChannelFlags
from protocol.wire.pipe import PipeMode

MESSAGE_PIPE: Final = PipeMode.MESSAGE.to_bytes(4, "little")


def ic_offer(class_id: UUID, instance_id: UUID) -> Offer:
    """The offer that OpenVMM makes for ``ChannelType::Pipe`` in message mode."""
    flags = ChannelFlags.ENUMERATE_DEVICE_INTERFACE | ChannelFlags.NAMED_PIPE_MODE
    return Offer(class_id, instance_id, flags, MESSAGE_PIPE)
