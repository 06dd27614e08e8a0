"""hid_hyperv: the host describes an HID device and sends its reports, which are counted; nobody follows the pointer."""

from __future__ import annotations

import errno
from typing import Final

from guest.drivers.conversation import ConversationWords, ConversingDriver, answer, answered, opened, send
from guest.kernel.memory import Word
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import VmbusDevice
from guest.vmbus.errors import VmbusError
from protocol.ids import PAGE_SIZE
from protocol.ring import COMPLETION_REQUESTED
from protocol.wire.guids import HV_MOUSE_GUID
from protocol.wire.layout import Readable
from protocol.wire.synthhid import (
    VERSION,
    DeviceInfo,
    DeviceInfoAck,
    HidMessage,
    MouseReport,
    ProtocolRequest,
    ProtocolResponse,
    message,
    parse,
)

RING_SIZE: Final = 9 * PAGE_SIZE
"""``VMBUS_RING_SIZE(36 * 1024)``: so much has the control page in it (``VMBUS_HEADER_ADJ``)."""
TIMEOUT: Final = 5.0
"""Seconds for each of the two answers."""


class MouseWords(ConversationWords):
    """``struct mousevsc_dev``."""

    responses = Word("probing CPU before it asks, channel callback after")
    approved = Word("channel callback")
    descriptions = Word("probing CPU before it asks, channel callback after")
    dev_info_status = Word("channel callback")
    """The errno of the description; 0: it is good."""
    init_complete = Word("probing CPU")
    """Reports before it are dropped."""
    vendor = Word("channel callback")
    product = Word("channel callback")
    reports = Word("channel callback")
    buttons = Word("channel callback")
    x = Word("channel callback")
    y = Word("channel callback")


class HidHyperv(ConversingDriver[MouseWords]):
    """``mousevsc_drv``. Simplified: a report is taken for what this host's description says; there is no HID parser."""

    name = "hid_hyperv"
    id_table = (HV_MOUSE_GUID,)
    words = MouseWords

    async def probe(self, device: VmbusDevice) -> None:
        """``mousevsc_probe``. Raises ETIMEDOUT, ENODEV if the host does not approve, or what its description lacks."""
        channel = device.channel
        words = channel.state(MouseWords)
        words.init_complete = words.responses = words.descriptions = 0
        async with opened(channel, RING_SIZE):
            request = message(HidMessage.PROTOCOL_REQUEST, ProtocolRequest(VERSION).encode())
            send(channel, request, flags=COMPLETION_REQUESTED)
            await answer(channel, words, lambda: words.responses != 0, TIMEOUT)
            if not words.approved:
                self.bus.printk(f"{self.name}: synthhid protocol request failed (version {VERSION})")
                raise VmbusError(errno.ENODEV, "the host does not approve the mouse's version")
            await answer(channel, words, lambda: words.descriptions != 0, TIMEOUT)
            if words.dev_info_status:
                raise VmbusError(words.dev_info_status, "the host's description of the mouse is of no use")
        words.init_complete = 1

    def receive(self, channel: VmbusChannel, words: MouseWords, payload: Readable) -> None:
        """``mousevsc_on_receive``."""
        header, body = parse(payload)
        match header.type:
            case HidMessage.PROTOCOL_RESPONSE:
                words.approved = ProtocolResponse.decode(body).approved
                words.responses += 1
                answered(channel, words)
            case HidMessage.INITIAL_DEVICE_INFO:
                self._describe(channel, words, body)
            case HidMessage.INPUT_REPORT if words.init_complete:
                report = MouseReport.decode(body)
                words.buttons, words.x, words.y = report.buttons, report.x, report.y
                words.reports += 1
            case _:
                words.illegal += 1

    @staticmethod
    def _describe(channel: VmbusChannel, words: MouseWords, body: bytes) -> None:
        """``mousevsc_on_receive_device_info``: an acknowledgement goes back if the description is good."""
        info = DeviceInfo.decode(body)
        words.vendor, words.product = info.vendor, info.product
        if not info.length:
            words.dev_info_status = errno.ENOMEM
        elif not info.report_length:
            words.dev_info_status = errno.EINVAL
        else:
            words.dev_info_status = 0
            ack = message(HidMessage.INITIAL_DEVICE_INFO_ACK, DeviceInfoAck().encode())
            channel.send_packet(ack, flags=COMPLETION_REQUESTED)
        words.descriptions += 1
        answered(channel, words)
