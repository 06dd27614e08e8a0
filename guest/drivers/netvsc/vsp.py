"""Coming to terms with the host about version and shared buffers, and taking them back (netvsc.c)."""

from __future__ import annotations

import errno
from typing import Final

from guest.drivers.netvsc.nic import Nic
from guest.kernel.pages import OutOfPages
from guest.net.frame import ETH_HLEN
from guest.vmbus.errors import VmbusError
from protocol.ids import PAGE_SIZE, GpadlId, Pfn
from protocol.wire.nvsp import (
    Init,
    InitComplete,
    NdisConfig,
    NdisVersion,
    NvspMessage,
    ReceiveBuffer,
    ReceiveBufferComplete,
    RevokeReceiveBuffer,
    RevokeSendBuffer,
    SendBuffer,
    SendBufferComplete,
)
from protocol.wire.nvsp_numbers import Capability, NvspStatus, NvspVersion

MTU_MIN: Final = 68
"""``NETVSC_MTU_MIN``: the smallest section that makes sense."""


async def netvsc_connect_vsp(nic: Nic, recv_bytes: int, send_bytes: int) -> None:
    """Version, NDIS version, buffers of these sizes. Raises VmbusError: EPROTO (no common version), EINVAL, ENOMEM."""
    nic.words.nvsp_version = version = await _negotiate_nvsp_ver(nic)
    nic.exchange.tell(NdisVersion(6, 1 if version <= NvspVersion.V4 else 30))
    await _init_recv_buf(nic, recv_bytes)
    await _init_send_buf(nic, send_bytes)


async def _negotiate_nvsp_ver(nic: Nic) -> NvspVersion:
    """One version at a time, newest first; from the second on the host is told MTU and capabilities."""
    for version in reversed(NvspVersion):
        if (await nic.exchange.nvsp(Init(version, version), InitComplete)).status == NvspStatus.SUCCESS:
            break
    else:
        raise VmbusError(errno.EPROTO, "netvsc: the host accepts no NVSP version")
    if version > NvspVersion.V1:
        nic.exchange.tell(NdisConfig(nic.device.words.mtu + ETH_HLEN, Capability.IEEE8021Q))
    return version


async def _init_recv_buf(nic: Nic, size: int) -> None:
    """``netvsc_init_buf``, first half. The host cuts the buffer up as it likes, in one section."""
    words = nic.words
    words.recv_pfn, words.recv_pages = _allocate(nic, size)
    words.recv_gpadl = await nic.channel.establish_gpadl(Pfn(words.recv_pfn), words.recv_pages)
    answer = await nic.exchange.nvsp(ReceiveBuffer(GpadlId(words.recv_gpadl)), ReceiveBufferComplete)
    words.recv_bytes = words.recv_pages * PAGE_SIZE
    if (
        answer.status != NvspStatus.SUCCESS
        or (answer.sections, answer.offset) != (1, 0)
        or answer.sub_alloc_size < MTU_MIN
        or answer.sub_alloc_size * answer.sub_allocs > words.recv_bytes
    ):
        raise VmbusError(errno.EINVAL, f"netvsc: the host cannot use the receive buffer: {answer}")
    words.recv_section_size = answer.sub_alloc_size


async def _init_send_buf(nic: Nic, size: int) -> None:
    """The second half. The host chooses the size of a section."""
    words = nic.words
    words.send_pfn, words.send_pages = _allocate(nic, size)
    words.send_gpadl = await nic.channel.establish_gpadl(Pfn(words.send_pfn), words.send_pages)
    answer = await nic.exchange.nvsp(SendBuffer(GpadlId(words.send_gpadl)), SendBufferComplete)
    if answer.status != NvspStatus.SUCCESS or answer.section_size < MTU_MIN:
        raise VmbusError(errno.EINVAL, f"netvsc: the host cannot use the send buffer: {answer}")
    words.send_section_size = answer.section_size
    words.send_sections = words.send_pages * PAGE_SIZE // answer.section_size


def _allocate(nic: Nic, size: int) -> tuple[int, int]:
    pages = -(-size // PAGE_SIZE)
    try:
        return nic.core.pages.allocate(pages), pages
    except OutOfPages as error:
        raise VmbusError(errno.ENOMEM, str(error)) from None


def revoke(nic: Nic, message: RevokeReceiveBuffer | RevokeSendBuffer) -> None:
    """``netvsc_revoke_recv_buf``, ``netvsc_revoke_send_buf``. A host that has rescinded the channel uses nothing."""
    if not nic.channel.words.rescind:
        _tell(nic, message)


def _tell(nic: Nic, message: NvspMessage) -> None:
    try:
        nic.exchange.tell(message)
    except VmbusError as error:
        nic.log(f"cannot send {message.type.name}: {error.strerror}")


async def teardown_recv_gpadl(nic: Nic) -> None:
    """Returns when the host has let go of the pages, and they are free."""
    words = nic.words
    await _teardown(nic, words.recv_gpadl, words.recv_pfn, words.recv_pages)
    words.recv_gpadl = words.recv_pfn = 0


async def teardown_send_gpadl(nic: Nic) -> None:
    words = nic.words
    await _teardown(nic, words.send_gpadl, words.send_pfn, words.send_pages)
    words.send_gpadl = words.send_pfn = 0


async def _teardown(nic: Nic, gpadl: int, first: int, pages: int) -> None:
    """Pages that the host does not give back are lost, as in Linux."""
    if gpadl:
        try:
            await nic.channel.teardown_gpadl(GpadlId(gpadl))
        except VmbusError as error:
            nic.log(f"unable to teardown GPADL {gpadl:#x}: {error.strerror}")
            return
    if first:
        nic.core.pages.free(Pfn(first), pages)
