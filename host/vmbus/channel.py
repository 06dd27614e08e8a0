"""One offered channel: what the table ``channel`` means in deeds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from host.vmbus.attachment import Attachment
from host.vmbus.counts import Counts
from host.vmbus.gpadls import Gpadls
from host.vmbus.link import Link
from host.vmbus.machine import Machine
from host.vmbus.retarget import Retarget
from host.vmbus.tables.channel import CHANNEL, ChannelAction, ChannelEvent, ChannelState
from host.vsp.device import Device
from protocol.ids import ConnectionId, Relid, VpIndex
from protocol.wire.messages import (
    NtStatus,
    OfferChannel,
    OpenChannel,
    OpenChannelResult,
    RescindChannelOffer,
)

_REVOKED: Final = frozenset(
    {
        ChannelState.REVOKED,
        ChannelState.REVOKED_CLOSING,
        ChannelState.REOFFERED,
        ChannelState.REOFFERED_CLOSING,
    }
)


@dataclass(frozen=True, slots=True)
class ChannelSnapshot:
    """A channel for reports.  ``relid`` and ``target_vp`` are None while there is none; counts are over all opens, but
    bytes through the rings, which are of the present open.
    """

    class_id: UUID
    instance_id: UUID
    sub_channel_index: int
    relid: Relid | None
    state: ChannelState
    target_vp: VpIndex | None
    opens: int
    signals_raised: int
    signals_refused: int
    doorbells: int
    bytes_written: int
    bytes_read: int


Key: TypeAlias = tuple[UUID, UUID, int]


def key_of(device: Device) -> Key:
    """What tells one offer from another: the GUID pair and the sub-channel index."""
    return device.offer.class_id, device.offer.instance_id, device.offer.sub_channel_index


def offer_message(device: Device, relid: Relid, doorbell: ConnectionId) -> OfferChannel:
    """OFFERCHANNEL for a device.  No monitor page and a dedicated interrupt, as on every host since Windows 8."""
    offer = device.offer
    return OfferChannel(
        class_id=offer.class_id,
        instance_id=offer.instance_id,
        flags=offer.flags,
        mmio_megabytes=offer.mmio_megabytes,
        user_defined=offer.user_defined,
        sub_channel_index=offer.sub_channel_index,
        mmio_megabytes_optional=0,
        relid=relid,
        connection_id=doorbell,
    )


class Channel:
    """The server's record of one offer, whichever connections it lives through.

    ``unfenced`` are the VPs that may have signals of this channel still under way to them.
    """

    def __init__(
        self,
        link: Link,
        gpadls: Gpadls,
        device: Device,
        pin: Relid | None,
        forget: Callable[["Channel"], None],
    ) -> None:
        self.key = key_of(device)
        self.pin = pin
        self.relid: Relid | None = None
        self.unfenced: set[VpIndex] = set()
        self.retarget = Retarget(link, lambda: self.relid, self.unfenced)
        self._link = link
        self._gpadls = gpadls
        self._device_side = Attachment(link, gpadls, device, self.unfenced, self.fire)
        self._newcomer = device
        self._asked: OpenChannel | None = None
        self._request: OpenChannel | None = None
        self._machine = Machine(
            CHANNEL,
            ChannelState.CLIENT_RELEASED,
            {
                ChannelAction.ASSIGN_RELID: self._assign_relid,
                ChannelAction.SEND_OFFER: self._send_offer,
                ChannelAction.REMEMBER_REQUEST: self._remember_request,
                ChannelAction.SEND_SUCCESS: self._send_success,
                ChannelAction.SEND_FAILURE: lambda: self._send_result(NtStatus.UNSUCCESSFUL),
                ChannelAction.REVOKE_GPADLS: lambda: gpadls.revoke(self._assigned),
                ChannelAction.SEND_RESCIND: self._send_rescind,
                ChannelAction.RELEASE_GPADLS: lambda: gpadls.release(self._assigned),
                ChannelAction.FREE_RELID: self._free_relid,
                ChannelAction.ADOPT_DEVICE: self._adopt_device,
                ChannelAction.FORGET: lambda: forget(self),
                ChannelAction.UNMAP: self._device_side.unmap,
                ChannelAction.OPEN_DEVICE: lambda: self._device_side.open(self._assigned, self._opening),
                ChannelAction.CLOSE_DEVICE: self._close_device,
            },
        )

    @property
    def device(self) -> Device:
        """The device behind the offer; a re-offer may replace it."""
        return self._device_side.device

    @property
    def counts(self) -> Counts:
        """Over all opens, whichever relids it had."""
        return self._device_side.counts

    @property
    def state(self) -> ChannelState:
        """Where it stands in the table."""
        return self._machine.state

    @property
    def target_vp(self) -> VpIndex | None:
        """The VP that is interrupted, while there is one."""
        return self._device_side.opened.target_vp if self._device_side.opened else None

    @property
    def revoked(self) -> bool:
        """Whether the guest was sent a RESCIND for the relid that it has."""
        return self.state in _REVOKED

    def fire(self, event: ChannelEvent) -> None:
        """Take the next step of the table."""
        try:
            self._machine.fire(event)
        finally:
            self._link.settled()

    def open(self, message: OpenChannel) -> None:
        """OPENCHANNEL from the guest."""
        self._asked = message
        self.fire(ChannelEvent.OPENCHANNEL)

    def reoffer(self, device: Device) -> None:
        """The operator offers ``device`` under the same GUID pair.  OperatorError unless the channel was revoked."""
        self._newcomer = device
        self.fire(ChannelEvent.REOFFER)

    def misdirect(self, vp: VpIndex) -> None:
        """Fault: interrupt ``vp`` from now on, whatever the guest was told."""
        if self._device_side.opened is not None:
            self._device_side.opened.target_vp = vp

    def snapshot(self) -> ChannelSnapshot:
        """What a report says."""
        offer, counts, opened = self.device.offer, self.counts, self._device_side.opened
        return ChannelSnapshot(
            class_id=offer.class_id,
            instance_id=offer.instance_id,
            sub_channel_index=offer.sub_channel_index,
            relid=self.relid,
            state=self.state,
            target_vp=self.target_vp,
            opens=counts.opens,
            signals_raised=counts.signals_raised,
            signals_refused=counts.signals_refused,
            doorbells=counts.doorbells,
            bytes_written=opened.outgoing.written if opened else 0,
            bytes_read=opened.incoming.read if opened else 0,
        )

    @property
    def _assigned(self) -> Relid:
        assert self.relid is not None, "the guest knows the channel"
        return self.relid

    @property
    def _opening(self) -> OpenChannel:
        assert self._request is not None, "the guest asked for this open"
        return self._request

    def _assign_relid(self) -> None:
        self.relid = self._link.relids.assign(self.pin, self)

    def _send_offer(self) -> None:
        self._link.post(offer_message(self.device, self._assigned, self._link.doorbell_of(self._assigned)))

    def _remember_request(self) -> None:
        self._request = self._asked

    def _send_success(self) -> None:
        self._send_result(NtStatus.SUCCESS)
        assert self._device_side.opened is not None, "the device has just opened"
        self.retarget.open(self._device_side.opened)
        if self._link.options.look_after_open:
            self._device_side.look_later()

    def _send_result(self, status: NtStatus) -> None:
        self._link.post(OpenChannelResult(self._assigned, self._opening.open_id, status))

    def _send_rescind(self) -> None:
        self._link.post(RescindChannelOffer(self._assigned), after=frozenset(self.unfenced))

    def _free_relid(self) -> None:
        self._device_side.disconnect()
        self._link.relids.free(self._assigned)
        self.relid = None

    def _adopt_device(self) -> None:
        self._device_side.device = self._newcomer

    def _close_device(self) -> None:
        self.retarget.close()
        self._device_side.close()
