"""The host of one VM, put together: hypervisor, VMBus server, devices. The same object in processes and simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from host.hypervisor.partition import HypervisorOptions, Partition
from host.quiesce import QuietServices, Time
from host.vmbus.options import HostOptions
from host.vmbus.server import OfferHandle, VmbusServer
from host.vsp.device import Device, Offer, VspChannel
from host.vsp.ic.component import Component
from host.vsp.ic.heartbeat import Heartbeat
from host.vsp.ic.shutdown import Shutdown
from host.vsp.ic.timesync import TimeSync
from host.vsp.storage.backend import BlockBackend
from host.vsp.storage.controller import Address, ScsiController
from host.vsp.storage.scsi.disk import ScsiDisk
from host.vsp.storage.storvsp import Storvsp
from protocol.errors import OperatorError, PeerError
from protocol.ids import Relid, VpIndex
from protocol.journal import Journal
from protocol.ram import Ram
from protocol.ring import Fence, Point
from protocol.wire.guids import HV_AVMA1_GUID

CONTROLLER = UUID("f8b3781a-1e82-4818-a1c3-63d806ec15bb")
DISK = UUID("6f2b4c1e-9d0a-4d4e-8f0e-1b7c5a0e2d31")
AVMA = UUID("3f1c7d52-6a3b-4b0f-9a55-0c2d5f6e8b14")


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk on the SCSI controller: what the shell opens."""

    path: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What the host has to know. ``time_scale`` divides the periods of devices."""

    vcpus: int
    disks: tuple[Disk, ...] = ()
    vmbus: HostOptions = field(default_factory=HostOptions)
    time_scale: float = 1.0


class Unsupported:
    """A device that only Windows guests drive; Linux drops its offer, early or late."""

    def __init__(self, class_id: UUID, instance_id: UUID) -> None:
        self.offer = Offer(class_id, instance_id)

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        """Nothing is served."""

    def close(self, done: Callable[[], None]) -> None:
        done()

    def doorbell(self) -> None:
        """Nothing is served."""


class Machine:
    """The host of one VM. The shell calls ``receive`` and ``flush``; ``transmit`` is its way to the VP ports.

    Offers and relids are those of the RFC's cover letter, as far as its devices are here: heartbeat 7, shutdown 9, time
    synchronization 10, SCSI 14, and one of the relids that its table skips (12) as a device that Linux does not want.
    """

    def __init__(
        self,
        spec: MachineSpec,
        ram: Ram,
        transmit: Callable[[VpIndex, bytes], None],
        time: Time,
        open_disk: Callable[[Disk], BlockBackend],
        fence: Fence,
        journal: Journal | None = None,
        point: Point | None = None,
    ) -> None:
        self.spec = spec
        self.complaints: list[str] = []
        self._journal = journal
        self.services = QuietServices(time, self._complain, journal)
        self.partition = Partition(spec.vcpus, ram, transmit, HypervisorOptions(), journal, self._complain)
        self.server = VmbusServer(
            self.partition,
            spec.vmbus,
            self._complain,
            fence=fence,
            call_later=lambda seconds, fn: self.services.call_later(seconds, fn),
            point=point,
        )
        self.partition.on_reset = self.server.reset
        self.heartbeat = Heartbeat(self.services, spec.time_scale)
        self.shutdown = Shutdown(self.services)
        self.timesync = TimeSync(self.services, spec.time_scale)
        self.backends = {Address(0, 0, lun): open_disk(disk) for lun, disk in enumerate(spec.disks)}
        self._controller = ScsiController({})
        for address, backend in self.backends.items():
            self.attach(address, backend)
        self.storage = Storvsp(self.services, self._controller, CONTROLLER)
        self.offers: dict[str, OfferHandle] = {}
        for name, device, relid in (
            ("heartbeat", self.heartbeat, 7),
            ("shutdown", self.shutdown, 9),
            ("timesync", self.timesync, 10),
            ("avma", Unsupported(HV_AVMA1_GUID, AVMA), 12),
            ("storvsc", self.storage, 14),
        ):
            self.offer(name, device, Relid(relid))

    def offer(self, name: str, device: Device, relid: Relid | None = None) -> None:
        """Offer a device to the guest under a name for the operator."""
        self.offers[name] = self.server.offer(device, relid)

    def attach(self, address: Address, backend: BlockBackend) -> None:
        """Put a disk at an address of the SCSI controller, in place of what was there."""
        identity = UUID(int=DISK.int + address.lun)
        self._controller.exchange(address, ScsiDisk(backend, identity, self._complain))

    def _complain(self, error: PeerError | OperatorError) -> None:
        self.complaints.append(str(error))
        if self._journal:
            self._journal("complaint", str(error))

    def receive(self, vp: VpIndex, data: bytes) -> None:
        """An envelope from the port of ``vp``. Raises ``EnvelopeError``."""
        self.partition.receive(vp, data)

    def flush(self) -> None:
        """The end of a turn: signals leave."""
        self.partition.flush()

    def snapshot(self) -> dict[str, Any]:
        """Everything that the host has counted, as plain data."""
        components: dict[str, Component] = {
            "heartbeat": self.heartbeat,
            "shutdown": self.shutdown,
            "timesync": self.timesync,
        }
        return {
            "vps": [
                {
                    **asdict(processor.counts),
                    "sent": processor.sent,
                    "received": processor.received.last,
                    "delivered": processor.delivered,
                    "by_flag": dict(processor.by_flag),
                }
                for processor in self.partition.processors
            ],
            "version": self.server.version.text,
            "channels": {name: _plain(handle) for name, handle in self.offers.items()},
            "components": {name: asdict(component.tally) for name, component in components.items()},
            "complaints": list(self.complaints),
        }


def _plain(handle: OfferHandle) -> dict[str, Any]:
    shot = handle.snapshot()
    return {
        "relid": shot.relid,
        "state": shot.state.name,
        "target_vp": shot.target_vp,
        "opens": shot.opens,
        "signals_raised": shot.signals_raised,
        "signals_refused": shot.signals_refused,
        "doorbells": shot.doorbells,
    }
