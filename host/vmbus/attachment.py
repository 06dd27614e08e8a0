"""The device's side of a channel: it is opened and closed in turn, and cannot bring the server down."""

from collections.abc import Callable
from functools import partial

from host.vmbus.counts import Counts
from host.vmbus.gpadls import Gpadls
from host.vmbus.link import Link
from host.vmbus.opened import OpenedChannel
from host.vmbus.options import LOOK_AFTER_OPEN_SECONDS, Step
from host.vmbus.tables.channel import ChannelEvent
from host.vsp.device import Device, DeviceFailed
from protocol.errors import PeerError
from protocol.ids import ConnectionId, Relid, VpIndex
from protocol.wire.messages import OpenChannel


class Attachment:
    """What the server asks of the device, and what the device has of the guest meanwhile.

    ``answered`` gets DEVICE_OPENED or DEVICE_REFUSED once after ``open`` unless ``close`` comes first, and
    DEVICE_CLOSED once after ``close``, possibly from within these calls.
    """

    def __init__(
        self,
        link: Link,
        gpadls: Gpadls,
        device: Device,
        unfenced: set[VpIndex],
        answered: Callable[[ChannelEvent], None],
    ) -> None:
        self.device = device
        self.opened: OpenedChannel | None = None
        self.counts = Counts()
        self._link = link
        self._gpadls = gpadls
        self._unfenced = unfenced
        self._answered = answered
        self._running: Device | None = None
        self._doorbell: ConnectionId | None = None
        self._asked: object = None

    def open(self, relid: Relid, request: OpenChannel) -> None:
        """Rings, doorbell, device, in this order.  The device may answer the guest's first packets at once."""
        opened = self._safely("open", partial(self._open, relid, request))
        if not opened:
            self._running = None
            self.disconnect()
        verdict = ChannelEvent.DEVICE_OPENED if opened else ChannelEvent.DEVICE_REFUSED
        asked = self._asked = object()
        self._link.pace(Step.OPEN, relid, partial(self._answer, asked, verdict))

    def _open(self, relid: Relid, request: OpenChannel) -> None:
        self.opened = OpenedChannel(self._link, self._gpadls, relid, request, self.counts, self._unfenced)
        self._doorbell = self._link.doorbell_of(relid)
        self._link.hypervisor.listen_events(self._doorbell, self._ring)
        self._running = self.device
        self.device.open(self.opened, request.user_data)
        self.counts.opens += 1

    def _answer(self, asked: object, verdict: ChannelEvent) -> None:
        if self._asked is asked:
            self._answered(verdict)

    def close(self) -> None:
        """Part the device from the guest, then close it, if it is open."""
        self._asked = None
        self.disconnect()
        device, self._running = self._running, None
        if device is None:
            self._answered(ChannelEvent.DEVICE_CLOSED)
            return
        pending = True

        def done() -> None:
            nonlocal pending
            if not pending:
                self._link.complain(DeviceFailed(f"{device.offer.class_id}: call done once per close, not twice"))
                return
            pending = False
            self._answered(ChannelEvent.DEVICE_CLOSED)

        if not self._safely("close", partial(device.close, done)) and pending:
            done()  # It will not get any more closed than that.

    def disconnect(self) -> None:
        """Neither side can signal the other any more."""
        if self._doorbell is not None:
            self._link.hypervisor.close_events(self._doorbell)
            self._doorbell = None
        if self.opened is not None:
            self.opened.stop()

    def unmap(self) -> None:
        """The device has let go of guest memory."""
        opened, self.opened = self.opened, None
        if opened is not None:
            opened.unmap()

    def look_later(self) -> None:
        """OpenVMM's safety net: wake each side that ought to be awake, a while after the open."""
        self._link.call_later(LOOK_AFTER_OPEN_SECONDS, partial(self._look, self.opened))

    def _look(self, opened: OpenedChannel | None) -> None:
        if self._running is not None and opened is not None and opened is self.opened:
            self._safely("doorbell", self._running.doorbell)
            self._safely("doorbell", opened.wake_guest)

    def _ring(self) -> None:
        self.counts.doorbells += 1
        if self._running is not None:
            self._safely("doorbell", self._running.doorbell)

    def _safely(self, name: str, call: Callable[[], None]) -> bool:
        """Whether the call came back.  What it raised instead is reported and goes no further."""
        try:
            call()
        except (PeerError, DeviceFailed) as error:
            self._link.complain(error)
        except Exception as error:
            failure = DeviceFailed(f"{self.device.offer.class_id}: fix {name}, it raised {error!r}")
            failure.__cause__ = error
            self._link.complain(failure)
        else:
            return True
        return False
