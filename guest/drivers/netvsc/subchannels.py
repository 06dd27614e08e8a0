"""Asking for sub-channels and spreading the load over them (rndis_filter.c ``rndis_set_subchannel``)."""

from __future__ import annotations

import errno

from guest.drivers.netvsc.nic import Nic
from guest.drivers.netvsc.rndis_filter import set_rss_param
from guest.net.device import TX_TABLE_SIZE
from guest.vmbus.errors import VmbusError
from protocol.wire.nvsp import SubChannelComplete, SubChannelRequest
from protocol.wire.nvsp_numbers import SUBCHANNEL_ALLOCATE, NvspStatus


async def rndis_set_subchannel(nic: Nic) -> None:
    """Ask, wait until the driver has tried to open all that were granted, and tell the host how to use them.

    Any send table that the host has sent before is overwritten, as in Linux. Raises VmbusError; then one channel it is.
    """
    words = nic.words
    wanted = words.num_chn - 1
    try:
        answer = await nic.exchange.nvsp(SubChannelRequest(SUBCHANNEL_ALLOCATE, wanted), SubChannelComplete)
        if answer.status != NvspStatus.SUCCESS or answer.count > wanted:
            raise VmbusError(errno.EIO, f"netvsc: the host grants {answer}")
        words.num_chn = 1 + answer.count
        await nic.exchange.wait(lambda: words.open_chn == words.num_chn, "sub-channels")
    except VmbusError:
        words.num_chn = 1
        raise
    for entry in range(TX_TABLE_SIZE):
        nic.device.words.tx_table[entry] = entry % words.num_chn
    await _ignore_failure(nic)


async def _ignore_failure(nic: Nic) -> None:
    """The channels are there even if the host does not want to hear how to use them."""
    try:
        await set_rss_param(nic)
    except VmbusError as error:
        nic.log(f"RSS parameters: {error.strerror}")
