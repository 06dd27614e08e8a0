"""What the guest waits for, by name, read from its kernel memory: who looks longer than is patient tells of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final, NamedTuple

from guest.kernel.smp import CallQueue
from guest.vmbus.words import VMBUS_CONNECT_CPU, ConnectionState
from lab.guest_view import GuestView
from protocol.wire.messages import (
    AllOffersDelivered,
    ControlMessage,
    GpadlCreated,
    GpadlHeader,
    GpadlTeardown,
    GpadlTorndown,
    InitiateContact,
    ModifyChannel,
    ModifyChannelResponse,
    OpenChannel,
    OpenChannelResult,
    RequestOffers,
    VersionResponse,
)

ANSWERS: Final[dict[int, type[ControlMessage]]] = {
    int(InitiateContact.number): VersionResponse,
    int(GpadlHeader.number): GpadlCreated,
    int(GpadlTeardown.number): GpadlTorndown,
    int(OpenChannel.number): OpenChannelResult,
    int(ModifyChannel.number): ModifyChannelResponse,
}
"""Which message answers a request, by the request's number."""


class Awaited(NamedTuple):
    """Something that ought to come soon. The same ``key`` again is the same wait."""

    key: Hashable
    what: str


def awaited(guest: GuestView) -> Iterator[Awaited]:
    """Everything that is waited for now."""
    for place, words in enumerate(guest.vmbus.requests):
        answer = ANSWERS.get(words.number)
        if answer is None:
            continue
        of = f" of relid {words.relid}" if words.relid else ""
        key = (place, words.number, words.relid, words.id, words.done)
        if words.done:
            yield Awaited(key, f"the wake-up of who waited for {answer.name}{of}, which has come")
        else:
            yield Awaited(key, f"{answer.name}{of}")
    connected = guest.vmbus.connection.conn_state == ConnectionState.CONNECTED
    cpu = guest.vmbus.cpus[VMBUS_CONNECT_CPU]
    if connected and cpu.posted[RequestOffers.number] and not cpu.messages[AllOffersDelivered.number]:
        yield Awaited("offers", f"{AllOffersDelivered.name}, {sum(cpu.messages)} messages have come")
    for number, queue in enumerate(guest.call_queues):
        if queue.head != queue.tail:
            yield Awaited((CallQueue, number, queue.head), f"CPU {number} to run what other CPUs ask of it")


def probes(guest: GuestView) -> Iterator[Awaited]:
    """Each driver that is taking or leaving a device now. As long as its channel interrupts, it goes on."""
    for relid, words in guest.channels():
        if words.driver and guest.vmbus.device_locks[relid].owner:
            driver = guest.vmbus.drivers[words.driver - 1].name
            key = ("probe", relid, words.driver, words.state, words.interrupts)
            yield Awaited(key, f"the driver {driver} to be done with the device of relid {relid}")
