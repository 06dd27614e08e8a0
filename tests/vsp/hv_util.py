"""``hv_util``: the guest's side of an integration component."""

from host.vsp.ic.component import Component
from host.vsp.testing import Loopback
from protocol.ring import PacketType
from protocol.shell.memory import GuestRam
from protocol.wire import ic
from protocol.wire.ic import IcFrame, IcMessage, IcVersion, Negotiate

IN_BAND = PacketType.IN_BAND
V3 = IcVersion(3, 0)


class Util:
    """``hv_util`` for one channel: rings of 12 KiB, DIRECT mode."""

    def __init__(self, ram: GuestRam, device: Component) -> None:
        self.channel = Loopback(ram, range(1, 5), range(5, 9))
        self.channel.open(device)

    def frames(self) -> list[IcFrame]:
        return [IcFrame.decode(packet.payload) for packet in self.channel.receive()]

    def frame(self) -> IcFrame:
        (frame,) = self.frames()
        return frame

    def answer(self, frame: IcFrame) -> None:
        self.channel.send(IN_BAND, frame.encode())

    def choose(self, framework: IcVersion, version: IcVersion) -> None:
        """``vmbus_prep_negotiate_resp`` with the outcome given."""
        self.answer(self.frame().answer(Negotiate((framework,), (version,)).encode()))

    def beat(self) -> None:
        """``heartbeat_onchannelcallback``, and a time sync answered in the same way."""
        for frame in self.frames():
            if frame.message_type == IcMessage.HEARTBEAT:
                sequence = ic.Heartbeat.decode(frame.body).sequence
                self.answer(frame.answer(ic.Heartbeat(sequence + 1).encode()))
            else:
                self.answer(frame.answer(frame.body))


def negotiated(ram: GuestRam, device: Component, version: IcVersion = V3) -> Util:
    guest = Util(ram, device)
    guest.choose(V3, version)
    return guest
