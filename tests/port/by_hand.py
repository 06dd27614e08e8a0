"""A VP port whose host is written by the test: it says what it is told to say and keeps what it hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from protocol.ids import PAGE_SIZE, VpIndex
from protocol.port.envelope import ACKNOWLEDGE, Sequence, ToHost, ToPort, read_to_host, to_port
from protocol.port.vp_port import VpPort
from protocol.shell.memory import GuestRam
from protocol.wire.synic import (
    CONTROL_ENABLE,
    HYPERVISOR_CALLBACK_VECTOR,
    MESSAGE_SINT,
    Register,
    SintConfig,
    SynicMessage,
    SynicPage,
)

SIMP, SIEFP = 1, 2
SINT2 = Register.sint(MESSAGE_SINT)
ENABLED = SintConfig(HYPERVISOR_CALLBACK_VECTOR, masked=False).encode()


class Heard(NamedTuple):
    delivered: int
    kind: ToHost
    fields: tuple[Any, ...]


class HostByHand:
    """The wire of a port, and the host behind it. A call is answered with ``status`` after ``during`` has run."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.said = 0
        self.status = 0
        self.during: Callable[[], None] = lambda: None
        self.behind: Callable[[], None] = lambda: None
        """What arrives right behind the answer, before the VP goes on."""
        self._received = Sequence()
        self.ram = GuestRam.create(8 * PAGE_SIZE, "port")
        self.port = VpPort(VpIndex(0), self.ram, self)

    def send(self, data: bytes) -> None:
        number, delivered, kind, *fields = read_to_host(data)
        self._received.check(number)
        self.heard.append(Heard(delivered, ToHost(kind), tuple(fields)))

    def wait(self) -> None:
        self.during()
        self.say(ToPort.ANSWER, self.status)
        self.behind()

    def say(self, kind: ToPort, *fields: object, signals: tuple[int, ...] = (), acknowledge: bool = False) -> None:
        self.said += 1
        self.port.receive(to_port(self.said, ACKNOWLEDGE if acknowledge else 0, list(signals), kind, *fields))

    def signal(self, *flags: int, sint: int = MESSAGE_SINT, acknowledge: bool = False) -> None:
        signals = tuple(sint << 16 | flag for flag in flags)
        self.say(ToPort.SIGNALS, signals=signals, acknowledge=acknowledge)

    def message(self, text: bytes, sint: int = MESSAGE_SINT) -> None:
        self.say(ToPort.MESSAGE, sint, SynicMessage(1, 0, 0, text).encode())

    def enable(self) -> HostByHand:
        """The guest turns its SynIC on, in Linux's order."""
        for register, value in (
            (Register.SIMP, SynicPage(True, SIMP).encode()),  # type: ignore[arg-type]
            (Register.SIEFP, SynicPage(True, SIEFP).encode()),  # type: ignore[arg-type]
            (SINT2, ENABLED),
            (Register.SCONTROL, CONTROL_ENABLE),
        ):
            self.port.write_register(register, value)
        self.heard.clear()
        return self

    def kinds(self) -> list[ToHost]:
        return [heard.kind for heard in self.heard]

    def slot(self) -> SynicMessage:
        slot = self.port.message_slot(MESSAGE_SINT)
        assert slot is not None
        return SynicMessage.decode(slot)

    def empty_slot(self) -> None:
        """The guest has copied the message."""
        slot = self.port.message_slot(MESSAGE_SINT)
        assert slot is not None
        slot.cast("I")[0] = 0

    def flags(self) -> set[int]:
        words = self.port.flag_words(MESSAGE_SINT)
        assert words is not None
        return {flag for flag in range(2048) if words[flag // 64] >> flag % 64 & 1}
