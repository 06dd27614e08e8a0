"""Faults that can be injected into a running host: each breaks what an equation of the report, or a test, watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from host.hypervisor.vp import VirtualProcessor
from host.machine import Machine
from host.vsp.ic.heartbeat import Heartbeat
from host.vsp.input.keyboard import Keyboard
from host.vsp.net.netvsp import Netvsp
from host.vsp.storage.faults import FlippedByte
from host.vsp.storage.storvsp import Storvsp
from protocol.ids import VpIndex
from protocol.inject import inject
from protocol.port.envelope import IPI, ToPort, read_to_port, to_port
from protocol.wire.synic import MESSAGE_SINT

RESCHEDULE = 0xFD
"""A vector that every x86 guest handles, and that does no harm."""


def suppress_signals(machine: Machine, relid: int) -> None:
    """A lost interrupt: the event flag of ``relid`` is not set any more, though the host believes that it is."""
    machine.partition.options.suppress_signals |= {relid}


def no_delivery_fences(machine: Machine) -> None:
    """Promises are no longer withheld until earlier signals are delivered: ZeroMQ's sockets overtake each other."""
    machine.partition.options.delivery_fences = False


def flip_byte(machine: Machine, offset: int) -> None:
    """The disk answers with one byte flipped."""
    for device in machine.devices.values():
        if isinstance(device, Storvsp):
            device.controller.change(lambda disk: disk.on(lambda backend: FlippedByte(backend, offset)))


def lose_flag(machine: Machine, relid: int) -> None:
    """The next envelope with the flag of ``relid`` loses it on the way; the one after is whole again."""
    for processor in machine.partition.processors:
        _rewrite(processor, lambda signals: [signal for signal in signals if signal & 0xFFFF != relid])


def invent_flag(machine: Machine, relid: int, vp: int = 0) -> None:
    """The next envelope to ``vp`` carries a flag that the host has not sent."""
    _rewrite(machine.partition.processors[vp], lambda signals: [*signals, 2 << 16 | relid], always=True)


def invent_ipi(machine: Machine, vp: int) -> None:
    """The next envelope to ``vp`` carries an interrupt that no VP has sent."""
    _rewrite(machine.partition.processors[vp], lambda signals: [*signals, IPI | RESCHEDULE], always=True)


def stray_signal(machine: Machine, flag: int, vp: int = 0) -> None:
    """The hypervisor signals a flag that no channel has raised."""
    machine.partition.signal(VpIndex(vp), MESSAGE_SINT, flag)


def forget_message(machine: Machine) -> None:
    """One message to VP 0 is not counted."""
    machine.partition.processors[0].counts.messages_sent -= 1


def forget_answer(machine: Machine) -> None:
    """An answer of the guest's heartbeat is not counted."""
    for device in machine.devices.values():
        if isinstance(device, Heartbeat):
            device.tally.answered -= 1


def forget_key(machine: Machine) -> None:
    """A keystroke is sent that the keyboard does not count."""
    for device in machine.devices.values():
        if isinstance(device, Keyboard):
            device.events -= 1


def forget_frame(machine: Machine) -> None:
    """A frame of the guest is not counted by the NIC."""
    for device in machine.devices.values():
        if isinstance(device, Netvsp):
            device.nic.counts.of(0).transmitted_frames -= 1


def forget_request(machine: Machine) -> None:
    """A SCSI request is answered that its controller does not count."""
    for device in machine.devices.values():
        if isinstance(device, Storvsp):
            device.controller.tally.completions -= 1


def misdirect(machine: Machine, name: str, vp: int) -> None:
    """The host interrupts another VP for a channel than the guest asked for."""
    machine.offers[name].misdirect(VpIndex(vp))


def lose_message(machine: Machine, number: int) -> None:
    """The next control message of this number never comes, nor any after it: the port still has to take it."""
    for processor in machine.partition.processors:
        _swallow(processor, number)


def lose_ipi(machine: Machine, vp: int) -> None:
    """The next interrupt from another VP to ``vp`` gets lost on the way."""
    _rewrite(machine.partition.processors[vp], lambda signals: [signal for signal in signals if signal < IPI])


def _swallow(processor: VirtualProcessor, number: int) -> None:
    transmit = processor.transmit

    def altered(data: bytes) -> None:
        sequence, flags, signals, kind, *fields = read_to_port(data)
        if kind != ToPort.MESSAGE or int.from_bytes(fields[1][16:20], "little") != number:
            transmit(data)
            return
        processor.transmit = transmit
        transmit(to_port(sequence, flags, signals, ToPort.FENCE))

    processor.transmit = altered


def _rewrite(processor: VirtualProcessor, change: Callable[[list[int]], list[int]], always: bool = False) -> None:
    """Change the signals of the next envelope that has some that change, behind the back of the counts."""
    transmit = processor.transmit

    def altered(data: bytes) -> None:
        number, flags, signals, kind, *fields = read_to_port(data)
        changed = change(signals)
        if changed == signals and not always:
            transmit(data)
            return
        processor.transmit = transmit
        transmit(to_port(number, flags, changed, ToPort(kind), *fields))

    processor.transmit = altered


FAULTS: dict[str, Callable[..., None]] = {
    fault.__name__: fault
    for fault in (
        suppress_signals,
        no_delivery_fences,
        flip_byte,
        lose_flag,
        invent_flag,
        invent_ipi,
        stray_signal,
        forget_message,
        forget_answer,
        forget_key,
        forget_frame,
        forget_request,
        misdirect,
        lose_message,
        lose_ipi,
    )
}


def break_host(machine: Machine, fault: str, **arguments: Any) -> None:
    """Do ``fault`` to a running host, and write it down. Raises OperatorError for one that there is not."""
    machine.note("inject", fault, arguments)
    inject(FAULTS, machine, fault, **arguments)
