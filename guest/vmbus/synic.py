"""A CPU's synthetic interrupt controller: on and off (drivers/hv/hv.c ``hv_synic_init``)."""

from __future__ import annotations

from dataclasses import replace

from guest.kernel.core import Core
from guest.vmbus.words import VmbusConnectionWords
from protocol.ids import PAGE_SIZE
from protocol.wire.synic import (
    CONTROL_ENABLE,
    HYPERVISOR_CALLBACK_VECTOR,
    MESSAGE_SINT,
    Register,
    SintConfig,
    SynicPage,
)


class Synic:
    """The SynIC of one CPU, and the two pages of guest RAM that it works on (``hv_synic_alloc``).

    ``synic_message_page`` and ``synic_event_page`` are byte addresses in guest RAM.
    """

    def __init__(self, core: Core, words: VmbusConnectionWords) -> None:
        self._core = core
        self._words = words
        self._set_affinity_lock = core.locks.irqsave("set_affinity_lock")
        self._message_pfn = core.pages.allocate()
        self._event_pfn = core.pages.allocate()
        self.synic_message_page = self._message_pfn * PAGE_SIZE
        self.synic_event_page = self._event_pfn * PAGE_SIZE

    def hv_synic_init(self) -> None:
        """Message page, event-flags page, SINT 2, and last the controller itself; then the CPU may be a target.

        ``synic_online`` is of RFC patch 12; the other designs keep it too and do not look at it.
        """
        port = self._core.port
        for register, pfn in (
            (Register.SIMP, self._message_pfn),
            (Register.SIEFP, self._event_pfn),
        ):
            preserved = port.read_register(register) & (PAGE_SIZE - 2)
            port.write_register(register, SynicPage(True, pfn).encode() | preserved)
        sint = SintConfig(HYPERVISOR_CALLBACK_VECTOR, masked=False, auto_eoi=True)
        port.write_register(Register.sint(MESSAGE_SINT), sint.encode())
        port.write_register(Register.SCONTROL, port.read_register(Register.SCONTROL) | CONTROL_ENABLE)
        self.set_online()

    def set_online(self) -> None:
        """Channels may be moved here."""
        with self._set_affinity_lock:
            self._words.synic_online |= 1 << self._core.cpu

    def hv_synic_disable_regs(self) -> None:
        """SINT 2 masked first, then the pages, last the controller. From here on the host cannot interrupt this CPU."""
        port = self._core.port
        sint = SintConfig.decode(port.read_register(Register.sint(MESSAGE_SINT)))
        port.write_register(Register.sint(MESSAGE_SINT), replace(sint, masked=True).encode())
        for register in (Register.SIMP, Register.SIEFP):
            port.write_register(register, port.read_register(register) & ~1)
        port.write_register(Register.SCONTROL, port.read_register(Register.SCONTROL) & ~CONTROL_ENABLE)
