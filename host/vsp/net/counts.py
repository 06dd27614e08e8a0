"""What a NIC counts, over all its openings. Transmitted is what the guest sends, received what it gets."""

from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class ChannelCounts:
    """Of one channel. ``completed``: packets of the guest, answered; ``released``: packets to the guest, given back.

    ``abandoned_frames``: of those that the guest gets, in packets never given back: it may have read them or not.
    """

    transmitted_frames: int = 0
    transmitted_bytes: int = 0
    received_frames: int = 0
    received_bytes: int = 0
    completed: int = 0
    released: int = 0
    abandoned_frames: int = 0


@dataclass(slots=True)
class NicCounts:
    """Of the NIC: ``control`` are RNDIS requests, ``unwanted`` and ``too_long`` frames that the guest did not get.

    ``waits``: how often the back end had to wait for receive buffers or room in a ring.
    """

    channels: dict[int, ChannelCounts] = field(default_factory=dict)
    control: int = 0
    indications: int = 0
    unwanted: int = 0
    too_long: int = 0
    waits: int = 0

    def of(self, index: int) -> ChannelCounts:
        """The counts of a channel."""
        return self.channels.setdefault(index, ChannelCounts())

    def plain(self) -> dict[str, int]:
        """Sums by name, and ``name.index`` for each channel."""
        every = {index: asdict(counts) for index, counts in sorted(self.channels.items())}
        sums = {name: sum(counts[name] for counts in every.values()) for name in ChannelCounts.__slots__}
        each = {f"{name}.{index}": value for index, counts in every.items() for name, value in counts.items()}
        own = {name: getattr(self, name) for name in ("control", "indications", "unwanted", "too_long", "waits")}
        return sums | own | each
