"""A device of one's own: it sends a packet now and then, and compares what comes back. Its driver is examples/echo.py.

./launch.sh run --driver examples/echo.py --device examples/echo_device.py
"""

from uuid import UUID

from host.device_api import Packet, PacketDevice, PeerError, Setting, Timer

ECHO_GUID = UUID("5f2b0c8e-7d4a-4b1e-9a36-0c6d2e8f4b11")
PERIOD = 0.02
"""Seconds between two packets."""
PAYLOAD_BYTES = 64


class EchoDevice(PacketDevice):
    """What a report says of it: packets sent, and packets that came back as they were."""

    name = "echo"
    class_id = ECHO_GUID

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.sent = self.answered = 0
        self._timer: Timer | None = None

    def opened(self, user_data: bytes) -> None:
        self._ping()

    def closed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _ping(self) -> None:
        self.sent += 1
        self.post(pattern(self.sent), self.sent)
        self._timer = self.services.call_later(PERIOD / self.setting.time_scale, self._ping)

    def receive(self, packet: Packet) -> None:
        if bytes(packet.payload) != pattern(packet.transaction_id):
            raise PeerError(f"echo: packet {packet.transaction_id} came back changed")
        self.answered += 1

    def counts(self) -> dict[str, int]:
        return {"sent": self.sent, "answered": self.answered}


def pattern(number: int) -> bytes:
    """The payload of a packet."""
    return number.to_bytes(8, "little") * (PAYLOAD_BYTES // 8)
