"""Time synchronisation: what the host's clock says, related to the reference time both sides can read.

The wall clock of the guest is ``clock_offset`` + reference time. Linux calls ``do_settimeofday64`` instead; here no
clock but the reference counter exists, so the offset *is* the clock.
"""

from __future__ import annotations

from typing import Final

from guest.drivers.hv_util.service import Reply, UtilService, UtilWords
from guest.kernel.core import Core
from guest.kernel.memory import Word
from protocol.wire.guids import HV_TS_GUID
from protocol.wire.ic import EPOCH_1601, IcFrame, IcMessage, IcVersion, TimeSync, TimeSyncFlags, TimeSyncV1

SAMPLE_TIMEOUT: Final = 600 * 10_000_000
"""``HV_SAMPLE_TIMEOUT``, in units of 100 ns: what is older says nothing about the clock any more."""
_WORD: Final = (1 << 64) - 1


class TimesyncWords(UtilWords):
    """``host_ts`` and the clock made from it. Units of 100 ns. ``answered`` counts samples of both kinds."""

    host_time = Word("channel callback")
    """Host's UTC since 1601 at ``ref_time``."""
    ref_time = Word("channel callback")
    """Guest's reference time when the newest sample was handled."""
    syncs = Word("channel callback")
    """Samples that asked for the clock to be set."""
    clock_offset = Word("hv_set_host_time")
    """Nanoseconds/100 since 1970 minus reference time, modulo 2**64; 0: the clock was never set."""
    clock_set = Word("hv_set_host_time")
    """How often the clock was set."""
    stale = Word("hv_set_host_time")
    """Samples found too old when the work ran."""


class TimesyncService(UtilService[TimesyncWords]):
    """``util_timesynch``."""

    class_id = HV_TS_GUID
    message_type = IcMessage.TIMESYNC
    versions = (IcVersion(4, 0), IcVersion(3, 0), IcVersion(1, 0))
    words = TimesyncWords

    def __init__(self, core: Core) -> None:
        self._core = core

    def respond(self, words: TimesyncWords, frame: IcFrame) -> Reply:
        """``adj_guesttime``: remember the sample; if it is a SYNC, set the clock from process context.

        From version 4 on a sample carries the reference time at which the host took it, so what it spent on the way
        is known and added.
        """
        now = self._core.clock.now()
        if words.version >> 16 >= 4:
            sample = TimeSync.decode(frame.body)
            parent_time, taken, flags = sample.parent_time, sample.reference_time, sample.flags
        else:
            old = TimeSyncV1.decode(frame.body)
            parent_time, taken, flags = old.parent_time, now, old.flags
        words.host_time = (parent_time + now - taken) & _WORD
        words.ref_time = now
        if not flags & TimeSyncFlags.SYNC:
            return Reply(frame.body)
        words.syncs += 1
        return Reply(frame.body, then=lambda: self._schedule(words))

    def _schedule(self, words: TimesyncWords) -> None:
        self._core.sched.spawn(self._set_host_time(words), "hv_set_host_time")

    async def _set_host_time(self, words: TimesyncWords) -> None:
        now = self._core.clock.now()
        host_time = adjusted_host_time(words, now)
        if host_time is None:
            words.stale += 1
            return
        words.clock_offset = (host_time - EPOCH_1601 - now) & _WORD
        words.clock_set += 1


def adjusted_host_time(words: TimesyncWords, now: int) -> int | None:
    """``hv_get_adj_host_time``: host's UTC since 1601 at reference time ``now``; None if the sample is stale.

    What the guest's PTP clock (``hyperv``) returns, which SAMPLE messages feed every five seconds.
    """
    age = now - words.ref_time
    return None if age > SAMPLE_TIMEOUT else words.host_time + age
