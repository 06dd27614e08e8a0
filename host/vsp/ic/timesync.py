"""Time synchronization: the host's wall clock for the guest (``timesync_onchannelcallback``)."""

from typing import Final
from uuid import UUID

from host.vsp.device import Services
from host.vsp.ic.component import Component
from host.vsp.ic.offers import ic_offer
from host.vsp.periodic import Periodic
from protocol.wire import ic
from protocol.wire.guids import HV_TS_GUID

VERSIONS: Final = (ic.IcVersion(1, 0), ic.IcVersion(3, 0), ic.IcVersion(4, 0))
PERIOD: Final = 5.0
"""Seconds between samples (OpenVMM ``SAMPLE_PERIOD``)."""
INSTANCE: Final = UUID("2dd1ce17-079e-403c-b352-a1921ee207ee")


class TimeSync(Component):
    """One SYNC, on which the guest sets its clock, when versions are agreed; after that samples, which only inform.

    OpenVMM does not send the next sample before the guest has answered the last, this one does and counts the
    answer as missed: a guest that never answers keeps its interrupt count. ``time_scale`` divides the period.
    """

    def __init__(self, services: Services, time_scale: float = 1.0) -> None:
        super().__init__(services, ic_offer(HV_TS_GUID, INSTANCE), ic.IcMessage.TIMESYNC, VERSIONS)
        self._samples = Periodic(services, PERIOD / time_scale, self._sample)

    def on_agreed(self) -> None:
        self._samples.start()
        self._tell(ic.TimeSyncFlags.SYNC)

    def on_close(self) -> None:
        self._samples.stop()

    def _sample(self) -> None:
        self._tell(ic.TimeSyncFlags.SAMPLE)

    def _tell(self, flags: ic.TimeSyncFlags) -> None:
        wall_clock = self._services.wall_clock()
        if self.version == (4, 0):
            self.request(ic.TimeSync(wall_clock, self._services.now(), flags).encode())
        else:
            self.request(ic.TimeSyncV1(wall_clock, 0, 0, flags).encode())
