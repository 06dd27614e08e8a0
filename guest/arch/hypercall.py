"""The two hypercalls of the VMBus, as a guest makes them (drivers/hv/hv.c ``hv_post_message``; TLFS, "Hypercalls")."""

from __future__ import annotations

from guest.kernel.core import Core
from protocol.ids import PAGE_SIZE, ConnectionId
from protocol.wire.hypercall import Code, ControlWord, PostMessageInput
from protocol.wire.synic import VMBUS_MESSAGE_TYPE

_POST_MESSAGE = ControlWord(Code.POST_MESSAGE).encode()
_SIGNAL_EVENT = ControlWord(Code.SIGNAL_EVENT, fast=True).encode()


class Hypercalls:
    """The hypercalls of one CPU, and the page of guest RAM for their input (``hyperv_pcpu_input_arg``)."""

    def __init__(self, core: Core) -> None:
        self._core = core
        pfn = core.pages.allocate()
        self._gpa = pfn * PAGE_SIZE
        self._input = core.ram.page(pfn)

    def hv_post_message(self, connection: ConnectionId, payload: bytes) -> int:
        """HvPostMessage: ``payload`` (at most 240 bytes) as a VMBus message; waits for the hypervisor's ``Status``.

        A hypervisor may answer with a status that this side has no name for, so it is a plain number.
        Interrupts are off meanwhile, because an interrupt handler that posts would use the same input page.
        """
        request = PostMessageInput(connection, VMBUS_MESSAGE_TYPE, payload).encode()
        core = self._core
        core.disable()
        self._input[: len(request)] = request
        result = core.port.hypercall(_POST_MESSAGE, self._gpa)
        core.enable()
        return result & 0xFFFF

    def hv_signal_event(self, connection: ConnectionId) -> None:
        """HvSignalEvent, fast form, flag 0: the doorbell. Nobody looks at its status, in Linux either."""
        self._core.port.cast(_SIGNAL_EVENT, connection)
