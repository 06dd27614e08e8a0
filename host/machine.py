"""The host of one VM, put together: hypervisor, VMBus server, devices. The same object in processes and simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid5

from host.catalogue import KINDS
from host.complaints import Complaints
from host.hypervisor.partition import HypervisorOptions, Partition
from host.plain import parse
from host.quiesce import QuietServices, Time
from host.sub_channels import SubChannelOffers
from host.vmbus.options import HostOptions
from host.vmbus.server import OfferHandle, VmbusServer
from host.vsp.device import Device, DeviceFailed
from host.vsp.kind import Answered, Disk, Kind, Setting, perform
from host.vsp.storage.backend import BlockBackend
from protocol.errors import OperatorError, PeerError
from protocol.ids import Relid, VpIndex
from protocol.journal import Journal
from protocol.ram import Ram
from protocol.ring import Fence, Point

INSTANCES: Final = UUID("f8b3781a-1e82-4818-a1c3-63d806ec15bb")
"""The name space in which the names of offers become instance GUIDs."""
COUNTED: Final = ("opens", "signals_raised", "signals_refused", "doorbells")


def instance_of(name: str) -> UUID:
    """The instance GUID of the device that the operator calls ``name``, unless its kind has one of its own."""
    return uuid5(INSTANCES, name)


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A device of a VM: its kind, the operator's name for it, its relid if that is pinned, and its kind's options."""

    kind: str
    name: str
    relid: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What the host has to know: the offers in their order, and whose sub-channels come first.

    ``time_scale`` divides the periods of devices. ``kinds`` are those that a VM brings along, by name.
    """

    vcpus: int
    devices: tuple[DeviceSpec, ...] = ()
    sub_channel_order: tuple[str, ...] = ()
    vmbus: HostOptions = field(default_factory=HostOptions)
    time_scale: float = 1.0
    kinds: dict[str, Kind[Any, Any]] = field(default_factory=dict)


class Machine:
    """The host of one VM. The shell calls ``partition.receive`` for each envelope and ``partition.flush`` at the end of
    its turn; ``transmit`` is its way to the VP ports.

    ``devices`` and ``offers`` go by the names of the operator; a sub-channel's is that of its primary, a dot, and its
    index. Raises OperatorError for a description that cannot be made.
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
        self.complaints = Complaints()
        self.failures = Complaints()
        self.devices: dict[str, Device] = {}
        self.offers: dict[str, OfferHandle] = {}
        self._specs: dict[str, DeviceSpec] = {}
        self._gone: dict[str, dict[str, int]] = {}
        self._kinds = {**KINDS, **spec.kinds}
        self._open_disk = open_disk
        self._journal = journal
        self.services = QuietServices(time, self.complain, journal)
        self.partition = Partition(spec.vcpus, ram, transmit, HypervisorOptions(), journal, self.complain)
        self.server = VmbusServer(
            self.partition,
            spec.vmbus,
            self.complain,
            fence=fence,
            call_later=lambda seconds, fn: self.services.call_later(seconds, fn),
            point=point,
        )
        self._sub_channels = SubChannelOffers(spec.sub_channel_order, self._offer, self._withdraw)
        self.partition.on_reset = self._reset
        for device in spec.devices:
            self.add(device)

    # --- devices ------------------------------------------------------------------------------------------------------

    def add(self, spec: DeviceSpec) -> None:
        """Make a device and offer it. Raises OperatorError: the name is taken, or there is no such kind or option."""
        if spec.name in self._specs:
            raise OperatorError(f"the VM has a device called '{spec.name}' already: choose another name")
        kind = self._kind(spec)
        options = parse(kind.options, spec.options, f"device '{spec.name}' of kind {spec.kind}")
        device = kind.make(self._setting(spec.name), options)
        self._offer(spec.name, device, None if spec.relid is None else Relid(spec.relid))
        self._specs[spec.name] = spec

    def rescind(self, name: str) -> None:
        """Take a device away from the guest. It is kept, and can be offered again. Raises OperatorError."""
        self._primary(name)
        self.offers[name].rescind()

    def offer(self, name: str) -> None:
        """Offer a device again that was rescinded, under a relid that is free. Raises OperatorError."""
        self._primary(name)
        self._offer(name, self.devices[name])

    def channel(self, name: str) -> dict[str, Any]:
        """What is known of a device's primary channel. Raises OperatorError."""
        self._primary(name)
        return _plain(self.offers[name])

    def act(self, name: str, action: str, answered: Answered, /, **arguments: Any) -> None:
        """Have a device do something; ``answered`` gets the result. Raises OperatorError if it cannot."""
        actions = self._kind(self._primary(name)).actions
        if action not in actions:
            raise OperatorError(f"'{name}' cannot {action}: it can {', '.join(actions) or 'do nothing by itself'}")
        perform(actions[action], self.devices[name], answered, **arguments)

    def _kind(self, spec: DeviceSpec) -> Kind[Any, Any]:
        kind = self._kinds.get(spec.kind)
        if kind is None:
            raise OperatorError(f"device '{spec.name}': no kind '{spec.kind}'; there are {', '.join(self._kinds)}")
        return kind

    def _primary(self, name: str) -> DeviceSpec:
        spec = self._specs.get(name)
        if spec is None:
            raise OperatorError(f"no device is called '{name}': there are {', '.join(self._specs)}")
        return spec

    def _setting(self, name: str) -> Setting:
        return Setting(
            name=name,
            instance_id=instance_of(name),
            services=self.services,
            sub_channels=self._sub_channels.of(name),
            open_disk=self._open_disk,
            complain=self.complain,
            withdraw=partial(self._withdraw, name),
            vcpus=self.spec.vcpus,
            time_scale=self.spec.time_scale,
        )

    def _offer(self, name: str, device: Device, relid: Relid | None = None) -> None:
        former = self.offers.get(name)
        try:
            handle = self.server.offer(device, relid)
        except OperatorError as error:
            raise OperatorError(f"device '{name}': {error}") from None
        if former is not None and former != handle:
            self._bury(name, former)
        self.devices[name], self.offers[name] = device, handle

    def _bury(self, name: str, handle: OfferHandle) -> None:
        """What the channel that had the name has counted stays."""
        counts = self._gone.setdefault(name, dict.fromkeys(COUNTED, 0))
        shot = asdict(handle.snapshot())
        for what in COUNTED:
            counts[what] += shot[what]

    def _withdraw(self, name: str) -> None:
        self.offers[name].rescind()

    def _reset(self) -> None:
        self.server.reset()
        self._sub_channels.start_over()

    # --- the shell ----------------------------------------------------------------------------------------------------

    def note(self, event: str, what: str, arguments: dict[str, Any]) -> None:
        """What somebody outside had the host do: the run depends on it besides the guest."""
        if self._journal:
            self._journal(event, what, arguments)

    def complain(self, error: PeerError | OperatorError) -> None:
        """Somebody has done something wrong, and the VM goes on."""
        (self.failures if isinstance(error, DeviceFailed) else self.complaints).add(str(error))
        if self._journal:
            self._journal("complaint", str(error))

    def snapshot(self) -> dict[str, Any]:
        """Everything that the host has counted, as plain data."""
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
            "gone": {name: dict(counts) for name, counts in self._gone.items()},
            "relids": {relid: asdict(counts) for relid, counts in self.server.relids().items()},
            "heard": self.server.messages()[0],
            "said": self.server.messages()[1],
            "overtaken": self.server.overtaken(),
            "unheard": dict(self.partition.unheard),
            "devices": {
                name: {"kind": spec.kind, "counts": self.devices[name].counts()} for name, spec in self._specs.items()
            },
            "complaints": self.complaints.lines(),
            "failures": self.failures.lines(),
        }


def _plain(handle: OfferHandle) -> dict[str, Any]:
    shot = handle.snapshot()
    return {
        "relid": shot.relid,
        "state": shot.state.name,
        "target_vp": shot.target_vp,
        "bytes_written": shot.bytes_written,
        "bytes_read": shot.bytes_read,
        **{what: getattr(shot, what) for what in COUNTED},
    }
