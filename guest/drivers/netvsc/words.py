"""What netvsc keeps in kernel memory: for a NIC, for each of its queues, and in the driver area of each channel."""

from __future__ import annotations

from typing import Final

from guest.kernel.memory import Array, Bytes, Struct, Word
from guest.net.napi import NapiWords

SLOTS: Final = 256
"""Sends of one queue that the host has not completed, at most; also the send sections of one queue."""
RECEIVE_COMPLETIONS: Final = 256
"""Answers to the host that one queue may owe it, at most."""
ANSWER_SIZE: Final = 1024
"""Bytes of the longest answer to a control request (``RNDIS_EXT_LEN`` and its message)."""


class NetvscChannelWords(Struct):
    """In the driver area of a channel: whose it is."""

    nic = Word("connect CPU, before open")
    """Index of the net device + 1; 0: nobody's yet."""
    queue = Word("connect CPU, before open")


class NetvscDeviceWords(Struct):
    """``struct netvsc_device`` and ``struct rndis_device``. All zero before the primary channel is opened."""

    nvsp_version = Word("probing CPU")
    num_chn = Word("probing CPU")
    """Channels that are wanted, later those that the host grants."""
    open_chn = Word("connect CPU")
    """Channels that have been opened, or could not be."""
    subchan_work = Word("connect CPU")
    """1 while sub-channels are being set up."""
    recv_pfn = Word("probing CPU")
    recv_pages = Word("probing CPU")
    recv_gpadl = Word("probing CPU")
    """0: the host does not have the buffer. So with the send buffer."""
    recv_bytes = Word("probing CPU")
    recv_section_size = Word("probing CPU")
    """Bytes of the longest message that the host may put there."""
    send_pfn = Word("probing CPU")
    send_pages = Word("probing CPU")
    send_gpadl = Word("probing CPU")
    send_section_size = Word("probing CPU")
    """Bytes; the host's choice."""
    send_sections = Word("probing CPU")
    request_pfn = Word("probing CPU")
    """A page for the request of the moment."""
    request_id = Word("who asks")
    """Of the RNDIS request of the moment; counted up."""
    asking_cpu = Word("who asks")
    expected = Word("who asks")
    """NVSP or RNDIS type of the answer that is waited for; 0: none."""
    answered = Word("who asks before it sends, NAPI of the primary channel after")
    """Bytes of the answer."""
    answer = Bytes(ANSWER_SIZE, "NAPI of the primary channel")


class NetvscQueueWords(NapiWords):
    """``struct netvsc_channel``. All zero before its channel is opened.

    The counts at the end are of what the host should not have sent; the kernel logs each and goes on.
    """

    relid = Word("connect CPU, before open")
    epoch = Word("xmit lock")
    """The epoch of the net device in which frames may be sent; 0: none, and no sender touches the channel."""
    queue_sends = Word("xmit lock")
    """Sends that the host has not completed."""
    taken = Array(SLOTS // 64, "xmit lock")
    """Bit n set: slot n is."""
    slots = Array(SLOTS, "xmit lock")
    """What a send holds until it is completed: see ``sends``."""
    first_section = Word("connect CPU, before open")
    sections = Word("connect CPU, before open")
    """This queue's share of the send buffer."""
    section_taken = Array(SLOTS // 64, "xmit lock")
    sent_in_sections = Word("xmit lock")
    sent_in_pages = Word("xmit lock")
    owed_first = Word("NAPI")
    owed_next = Word("NAPI")
    """``multi_recv_comp``: receive completions from first up to next are owed to the host; both count up."""
    owed_ids = Array(RECEIVE_COMPLETIONS, "NAPI")
    owed_status = Array(RECEIVE_COMPLETIONS, "NAPI")
    malformed = Word("NAPI")
    """Packets too short, of the wrong page set, or with ranges outside of the receive buffer."""
    unknown = Word("NAPI")
    """Completions of nothing that is under way, messages of no type that is known."""
