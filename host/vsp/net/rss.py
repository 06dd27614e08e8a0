"""Receive side scaling: which channel a frame for the guest goes to, by the guest's parameters."""

from typing import Final

from host.vsp.net.toeplitz import toeplitz
from protocol.errors import PeerError
from protocol.wire.ndis import RSS_KEY_SIZE, RssFlag, RssHash, RssParameters

IPV4, IPV6, VLAN = b"\x08\x00", b"\x86\xdd", b"\x81\x00"
TCP: Final = 6
# Plain numbers: an IntFlag takes ten times as long to look at, and this is done for each frame.
OVER_IPV4, OVER_TCP_IPV4 = int(RssHash.IPV4), int(RssHash.TCP_IPV4)
OVER_IPV6, OVER_TCP_IPV6 = int(RssHash.IPV6), int(RssHash.TCP_IPV6)
DISABLED: Final = RssParameters(RssFlag.DISABLE, RssHash(0), (), b"")


def flow(frame: bytes, over: int) -> bytes | None:
    """The bytes of a frame that are hashed: addresses, and the ports of TCP if ``over`` (``RssHash``) asks for them.

    None: no IP, or not asked for. Fragments and IPv6 packets with extension headers go by their addresses.
    """
    at = 18 if frame[12:14] == VLAN else 14
    match frame[at - 2 : at]:
        case _ if len(frame) < at + 20:
            return None
        case kind if kind == IPV4:
            header = 4 * (frame[at] & 0xF)
            addresses = frame[at + 12 : at + 20]
            fragment = int.from_bytes(frame[at + 6 : at + 8], "big") & 0x3FFF
            if over & OVER_TCP_IPV4 and frame[at + 9] == TCP and not fragment:
                return addresses + frame[at + header : at + header + 4]
            return addresses if over & OVER_IPV4 else None
        case kind if kind == IPV6 and len(frame) >= at + 40:
            addresses = frame[at + 8 : at + 40]
            if over & OVER_TCP_IPV6 and frame[at + 6] == TCP:
                return addresses + frame[at + 40 : at + 44]
            return addresses if over & OVER_IPV6 else None
        case _:
            return None


class ReceiveSideScaling:
    """Off until the guest has set it."""

    def __init__(self) -> None:
        self.parameters = DISABLED
        self._over = 0

    def set(self, new: RssParameters, channels: int) -> None:
        """SET of GEN_RECEIVE_SCALE_PARAMETERS, as ``rndis_filter_set_rss_param`` does it: off, then all anew.

        Raises PeerError for a table that names a channel which is none, is empty or no power of two, or for a bad key.
        """
        if new.flags & RssFlag.DISABLE:
            self.parameters = DISABLED
            return
        table = self.parameters.table if new.flags & RssFlag.TABLE_UNCHANGED else new.table
        key = self.parameters.key if new.flags & RssFlag.KEY_UNCHANGED else new.key
        over = self.parameters.hash_info if new.flags & RssFlag.HASH_INFO_UNCHANGED else new.hash_info
        if not table or len(table) & (len(table) - 1) or max(table) >= channels:
            raise PeerError(f"netvsc: RSS table of {len(table)} entries up to {max(table, default=0)}, not {channels}")
        if len(key) != RSS_KEY_SIZE or not over & RssHash.TOEPLITZ:
            raise PeerError(f"netvsc: RSS key of {len(key)} bytes for hash {over:#x}")
        self.parameters = RssParameters(new.flags, over, table, key)
        self._over = int(over)

    def choose(self, frame: bytes) -> tuple[int, int | None]:
        """(channel, hash value to tell the guest). What has no hash goes to channel 0."""
        parameters = self.parameters
        if not parameters.table or (data := flow(frame, self._over)) is None:
            return 0, None
        value = toeplitz(parameters.key, data)
        return parameters.table[value & len(parameters.table) - 1], value
