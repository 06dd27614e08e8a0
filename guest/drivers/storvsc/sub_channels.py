"""More channels than the primary: how storvsc asks for them and takes them into use."""

from __future__ import annotations

from typing import Final

from guest.drivers.storvsc.controller import Controller
from guest.drivers.storvsc.words import StorChannelWords
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import CallbackMode
from protocol.wire.vstor import Operation, SubChannels, VstorPacket

VMSTOR_PROTO_VERSION_WIN8: Final = 0x0501
CREATE_TIMEOUT: Final = 10.0
"""Seconds."""


async def handle_multichannel_storage(controller: Controller, max_chns: int, present_cpus: int) -> None:
    """Ask for as many sub-channels as there are other CPUs, at most ``max_chns``; the offers follow the answer.

    A host that does not answer or refuses leaves the controller with one channel, and a line in the log.
    """
    words, printk = controller.words, controller.channel.bus.printk
    num_sc = min(present_cpus - 1, max_chns)
    if not num_sc or words.version < VMSTOR_PROTO_VERSION_WIN8:
        return
    words.num_sc = num_sc
    controller.channel.set_sc_creation_callback()
    question = VstorPacket(Operation.CREATE_SUB_CHANNELS, body=SubChannels(num_sc).encode())
    try:
        answer = await controller.exchange(question, CREATE_TIMEOUT)
    except VmbusError as error:
        printk(f"hv_storvsc {controller.channel.device.name}: Failed to create sub-channel: {error.strerror}")
        return
    if answer.operation != Operation.COMPLETE_IO or answer.status:
        printk(
            f"hv_storvsc {controller.channel.device.name}: "
            f"Failed to create sub-channel: op={answer.operation}, host=0x{answer.status:x}"
        )


async def handle_sc_creation(controller: Controller, channel: VmbusChannel, ring_size: int) -> None:
    """Open an offered sub-channel and let requests take it. One that cannot be opened is not used.

    The controller may be removed meanwhile: its close then came before this open ended, and left this channel alone.
    (Linux does not look.)
    """
    if not controller.alive:
        return
    channel.state(StorChannelWords).host_no = controller.host_no
    channel.set_read_mode(CallbackMode.BATCHED)
    channel.irq_name = f"sub@storvsc{controller.host_no}"  # patch 5 of the RFC
    try:
        await channel.open(ring_size, ring_size)
    except VmbusError as error:
        name = channel.device.name
        channel.bus.printk(f"hv_storvsc {name}: Failed to open sub-channel: err=-{error.errno}")
        return
    if controller.words.destroy:
        await channel.close_late()
    else:
        controller.channels.add(channel)
