"""A consistent cut: what every process of a VM has counted, at one moment that no envelope crosses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from guest.fs.tree import Tree
from guest.vmbus.numa import Topology
from guest.vmbus.policy import Policy
from guest.vmbus.words import ChannelWords
from lab.guest_view import GuestView
from protocol.ids import PAGE_SIZE, Irq, Relid


def consistent(host: dict[str, Any], ports: list[dict[str, Any]]) -> bool:
    """No envelope was between two snapshots: what each end has sent, the other has received."""
    return all(
        vp["sent"] == port["received"] and vp["received"] == port["sent"] and port["idle"]
        for vp, port in zip(host["vps"], ports, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Cut:
    """``host`` and ``ports`` are the snapshots of the host and of each CPU; ``guest`` reads kernel memory."""

    policy: Policy
    topology: Topology
    host: dict[str, Any]
    ports: list[dict[str, Any]]
    guest: GuestView
    ram: memoryview

    @property
    def files(self) -> Tree:
        """The guest's /proc and /sys."""
        return Tree(self.guest.root(self.ram))

    def read(self, path: str) -> str:
        """A file of the guest, or why it cannot be read."""
        try:
            return self.files.read(path).decode()
        except OSError as error:
            return str(error.strerror)

    @property
    def vps(self) -> list[dict[str, Any]]:
        """What the host has said to each VP."""
        vps: list[dict[str, Any]] = self.host["vps"]
        return vps

    def offers(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """The host's channels: (name, kind of device, what it counted)."""
        for name, channel in self.host["channels"].items():
            primary = name.split(".")[0]
            yield name, self.host["devices"].get(primary, {}).get("kind", ""), channel

    def opened_once(self) -> dict[str, ChannelWords]:
        """By name, the channels that drivers of the tree use and that never were closed.

        Nothing on its way can have died with its channel, and it is known what its words mean.
        """
        opened, gone = dict(self.guest.opened()), self.host["gone"]
        return {
            name: opened[channel["relid"]]
            for name, _, channel in self.offers()
            if channel["relid"] in opened
            and channel["opens"] == 1
            and name not in gone
            and self.guest.driven_by_tree(opened[channel["relid"]])
        }

    def devices(self, *kinds: str) -> Iterator[tuple[str, str, dict[str, int]]]:
        """The host's devices of these kinds: (name, kind, what it counted)."""
        for name, device in self.host["devices"].items():
            if device["kind"] in kinds:
                yield name, device["kind"], device["counts"]

    def name_of(self, relid: int) -> str:
        """What the guest calls the channel, or what the host does."""
        words = self.guest.vmbus.channels[relid]
        if words.live:
            return words.irq_name
        return next((name for name, _, channel in self.offers() if channel["relid"] == relid), "gone")

    def relids(self) -> list[Relid]:
        """Every relid under which anything was counted on either side."""
        seen = {int(relid) for relid, counts in self.host["relids"].items() if any(counts.values())}
        seen |= {int(flag) for vp in self.vps for flag in vp["by_flag"]}
        seen |= {int(relid) for relid, words in self.guest.opened()}
        for cpu in self.guest.vmbus.cpus:
            seen |= {relid for relid, count in enumerate(cpu.unreached) if count and relid}
        return [Relid(relid) for relid in sorted(seen)]

    def inbound(self, words: ChannelWords) -> tuple[int, int]:
        """Indices of an open channel's ring from the host: (write, read)."""
        return self._indices(words.ring_pfn + words.send_pages)

    def unread(self, words: ChannelWords) -> tuple[int, int]:
        """Bytes in an open channel's rings: (to the host, from the host)."""
        to_host, to_guest = self._indices(words.ring_pfn), self.inbound(words)
        up, down = words.send_pages - 1, words.ring_pages - words.send_pages - 1
        return (to_host[0] - to_host[1]) % (up * PAGE_SIZE), (to_guest[0] - to_guest[1]) % (down * PAGE_SIZE)

    def _indices(self, first: int) -> tuple[int, int]:
        control = self.ram[first * PAGE_SIZE :][:8].cast("I")
        return control[0], control[1]

    def row(self, irq: int) -> int:
        """The sum of an IRQ's row of /proc/interrupts."""
        return sum(self.guest.irq_counts(Irq(irq))) if irq else 0
