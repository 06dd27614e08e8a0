"""The synthetic NIC as a kind of device."""

from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from host.plain import STRICT
from host.vsp.kind import Answered, Kind, Setting
from host.vsp.net.control import Adapter
from host.vsp.net.echo import Answer, Echo, mirrored
from host.vsp.net.netvsp import SHORTEST_MTU, Netvsp
from host.vsp.net.station import Stations
from protocol.wire.nvsp_numbers import MAX_CHANNELS, NvspVersion

MAC = r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$"
STATIONS = bytes.fromhex("00155d00ec00")
VERSIONS = {version.name[1:].replace("_", "."): version for version in NvspVersion}


def _of_one_station(mac: str) -> str:
    """``is_valid_ether_addr``."""
    address = bytes.fromhex(mac.replace(":", ""))
    if address[0] & 1 or not any(address):
        raise ValueError("input should be the address of one station: no group's (an odd first byte), not all zeros")
    return mac


@dataclass(frozen=True, slots=True, config=STRICT)
class NetvscOptions:
    """``queues``: how many channels the guest may have. What it sends comes back with its addresses exchanged, on the
    channel that its RSS table says or on the ``same``; ``ips`` are stations there, which answer ARP, ping and UDP.
    """

    queues: Annotated[int, Field(ge=1, le=MAX_CHANNELS)] = 1
    mac: Annotated[str, Field(pattern=MAC), AfterValidator(_of_one_station)] = "00:15:5d:00:00:01"
    mtu: Annotated[int, Field(ge=SHORTEST_MTU, le=65521)] = 1500
    link: bool = True
    echo: Literal["rss", "same", "off"] = "rss"
    ips: tuple[IPv4Address, ...] = ()
    nvsp: Literal["1", "2", "4", "5", "6", "6.1"] = "6.1"


def _make(setting: Setting, options: NetvscOptions) -> Netvsp:
    answers: list[Answer] = []
    if options.ips:
        answers.append(Stations(options.ips, STATIONS).answer)
    if options.echo != "off":
        answers.append(mirrored)
    address = bytes.fromhex(options.mac.replace(":", ""))
    return Netvsp(
        setting.services,
        setting.instance_id,
        Adapter(address, options.mtu, options.queues, setting.name, options.link),
        Echo(tuple(answers), options.echo != "same"),
        setting.sub_channels,
        VERSIONS[options.nvsp],
    )


def _link(device: Netvsp, answered: Answered, up: bool) -> None:
    """Plug the cable in or out."""
    device.set_link(up)
    answered(None)


NETVSC = Kind(NetvscOptions, _make, {"link": _link})
