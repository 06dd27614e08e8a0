"""An open channel as its device sees it: two rings, the guest's GPADLs, and a way to interrupt the guest."""

from host.vmbus.counts import Counts
from host.vmbus.gpadls import Gpadl, Gpadls
from host.vmbus.link import Link
from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE, GpadlId, Pfn, Relid, VpIndex
from protocol.ram import Ram
from protocol.ring import RingReader, RingWriter
from protocol.ring.memory import INTERRUPT_MASK
from protocol.wire.gpadl import GpaRange
from protocol.wire.messages import NO_INTERRUPTS, OpenChannel

MIN_RING_PAGES = 2
"""A control page and a data area."""


class BadOpen(PeerError):
    """OPENCHANNEL whose rings are no rings, or whose target VP does not exist: the result is a failure."""


def split_rings(ranges: tuple[GpaRange, ...], downstream_page: int) -> tuple[tuple[Pfn, ...], tuple[Pfn, ...]]:
    """The pages of the upstream ring (guest to host) and of the downstream ring: both in one GPADL, in this order.

    BadOpen unless the GPADL is one range of whole pages and either part has a data area.
    """
    if len(ranges) != 1:
        raise BadOpen(f"OPENCHANNEL: the ring GPADL has {len(ranges)} ranges, must have 1")
    whole = ranges[0]
    if whole.byte_offset or whole.byte_count % PAGE_SIZE:
        raise BadOpen(
            f"OPENCHANNEL: the ring GPADL has {whole.byte_count} bytes from {whole.byte_offset}, must be whole pages"
        )
    pages = tuple(Pfn(pfn) for pfn in whole.pfns)
    if not MIN_RING_PAGES <= downstream_page <= len(pages) - MIN_RING_PAGES:
        raise BadOpen(
            f"OPENCHANNEL: the downstream ring starts at page {downstream_page} of {len(pages)}: no room for two rings"
        )
    return pages[:downstream_page], pages[downstream_page:]


class OpenedChannel:
    """A ``VspChannel``, from OPENCHANNEL until its device has closed.

    ``target_vp`` is None while there is nobody to interrupt: the guest asked for no interrupts, or the channel is no
    longer open.  ``unfenced`` collects the VPs whose port may not have set the flag yet.
    """

    def __init__(
        self,
        link: Link,
        gpadls: Gpadls,
        relid: Relid,
        request: OpenChannel,
        counts: Counts,
        unfenced: set[VpIndex],
    ) -> None:
        target = request.target_vp
        if target != NO_INTERRUPTS and target not in link.hypervisor.vps:
            raise BadOpen(f"OPENCHANNEL: there is no VP {target}")
        ring_gpadl = gpadls.established(relid, request.ring_gpadl)
        upstream, downstream = split_rings(ring_gpadl.ranges, request.downstream_page)
        self.relid = relid
        self.ram: Ram = link.hypervisor.ram
        self.incoming = RingReader(self.ram.ring(upstream), link.fence, link.point)
        self._downstream = self.ram.ring(downstream)
        self.outgoing = RingWriter(self._downstream, link.fence, link.point)
        self.target_vp = None if target == NO_INTERRUPTS else target
        self._link = link
        self._gpadls = gpadls
        self._counts = counts
        self._unfenced = unfenced
        self._mapped: list[Gpadl] = [ring_gpadl]
        ring_gpadl.map()

    def signal(self) -> None:
        """Set flag ``relid`` in the target VP's event-flags page.  A VP whose SynIC is off loses it (TLFS)."""
        if self.target_vp is None:
            return
        if self._link.hypervisor.signal(self.target_vp, self._link.sint, self.relid):
            self._counts.signals_raised += 1
            self._unfenced.add(self.target_vp)
        else:
            self._counts.signals_refused += 1

    def map_gpadl(self, id: GpadlId) -> tuple[GpaRange, ...]:
        """Use the pages of another GPADL of this channel (a receive buffer, say) until ``unmap_gpadl``, or close.

        PeerError: the guest has not established it.
        """
        gpadl = self._gpadls.established(self.relid, id)
        gpadl.map()
        self._mapped.append(gpadl)
        return gpadl.ranges

    def unmap_gpadl(self, id: GpadlId) -> None:
        """The device no longer uses them; harmless if it did not.  The rings stay."""
        for gpadl in self._mapped[1:]:
            if gpadl.id == id:
                self._mapped.remove(gpadl)
                gpadl.unmap()
                return

    def wake_guest(self) -> None:
        """Signal if the guest has something to read and wants to hear of it."""
        ring = self._downstream
        if ring.write_index() != ring.read_index() and not ring.control[INTERRUPT_MASK]:
            self.signal()

    def stop(self) -> None:
        """No further interrupts."""
        self.target_vp = None

    def unmap(self) -> None:
        """The device has closed: no page is used any more."""
        mapped, self._mapped = self._mapped, []
        for gpadl in mapped:
            gpadl.unmap()
