"""Control messages from the host (drivers/hv/vmbus_drv.c ``vmbus_on_msg_dpc``)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from guest.vmbus.offers import vmbus_onoffer
from guest.vmbus.rescind import vmbus_onoffer_rescind
from protocol.errors import PeerError
from protocol.wire.messages import (
    AllOffersDelivered,
    ControlMessage,
    GpadlCreated,
    GpadlHeader,
    GpadlTeardown,
    GpadlTorndown,
    InitiateContact,
    ModifyChannelResponse,
    OfferChannel,
    OpenChannel,
    OpenChannelResult,
    RescindChannelOffer,
    VersionResponse,
    decode,
)
from protocol.wire.synic import MESSAGE_PENDING, MESSAGE_SINT, MESSAGE_SIZE, Register, SynicMessage

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus

TYPE_BITS = 0xFFFFFFFF
FLAGS_SHIFT = 40
"""``message_flags`` is byte 5 of the slot."""


class MessageDpc:
    """The message tasklet of one CPU. Messages come to the connect CPU only, so all that follows runs there."""

    def __init__(self, bus: Vmbus) -> None:
        self._bus = bus
        start = bus.synic.synic_message_page + MESSAGE_SINT * MESSAGE_SIZE
        self._slot = bus.core.ram.bytes[start : start + MESSAGE_SIZE]
        self._words, self._first = bus.core.ram.words, start // 8
        self.tasklet = bus.core.tasklet(bus.tables.msg_dpcs[bus.core.cpu], self.vmbus_on_msg_dpc)

    def vmbus_on_msg_dpc(self) -> None:
        """Take *one* message: copy it, since the host can change the slot; act on the copy; free the slot.

        Only when a further message waits is EOM written. A message that makes no sense is logged and dropped.
        """
        words, first = self._words, self._first
        message_type = words[first] & TYPE_BITS
        if not message_type:
            return
        copy = bytes(self._slot)
        try:
            self._take(decode(SynicMessage.decode(copy).payload, self._bus.poster.dialect))
        except PeerError as error:
            self._bus.counts.messages_bad += 1
            self._bus.printk(f"hv_vmbus: message from the host dropped: {error}")
        if words[first] & TYPE_BITS != message_type:
            return
        words[first] &= ~TYPE_BITS
        if words[first] >> FLAGS_SHIFT & MESSAGE_PENDING:
            self._bus.core.port.write_register(Register.EOM, 0)

    def _take(self, message: ControlMessage) -> None:
        """Offers and rescinds may block: work queues. The rest is done here, also while a work item waits for it."""
        bus = self._bus
        bus.counts.messages[message.number] += 1
        requests = bus.requests
        match message:
            case OfferChannel():
                bus.tables.connection.offer_in_progress += 1
                bus.offer_queue.queue(partial(vmbus_onoffer, bus, message))
            case RescindChannelOffer():
                bus.rescind_queue.queue(partial(vmbus_onoffer_rescind, bus, message.relid))
            case OpenChannelResult():
                requests.answer(OpenChannel, message.relid, message.open_id, message.status)
            case GpadlCreated():
                requests.answer(GpadlHeader, message.relid, message.gpadl, message.status)
            case GpadlTorndown():
                requests.answer(GpadlTeardown, None, message.gpadl, 0)
            case VersionResponse():
                requests.answer(InitiateContact, None, 0, message.supported, message.connection_id)
            case ModifyChannelResponse():
                bus.relids.on_modifychannel_response(message)
            case AllOffersDelivered():
                bus.offer_queue.queue(bus.probing.load)
            case _:
                bus.counts.messages_unhandled += 1
