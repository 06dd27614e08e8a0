"""An operator plugs disks into a controller in use and pulls them out, and closes it with its sub-channels."""

from __future__ import annotations

from uuid import UUID

import pytest

from host.vsp.storage.controller import Address
from host.vsp.storage.scsi.disk import ScsiDisk
from host.vsp.testing import Loopback
from protocol.errors import OperatorError
from protocol.ring import PacketType
from protocol.shell.memory import GuestRam
from protocol.wire.vstor import Operation, SrbStatus, SubChannels, VstorPacket
from tests.vsp.image import blank
from tests.vsp.storvsc import HERE, READ, REPORT_LUNS, StorVsc, good, rw10

SECOND = Address(0, 0, 1)


def disk(guest: StorVsc) -> ScsiDisk:
    return ScsiDisk(blank(), UUID(int=9), guest.clock.complain)


def notices(guest: StorVsc) -> list[tuple[int, int]]:
    """What the host has said unasked: (transaction id, operation)."""
    packets = guest.channel.receive()
    assert all((packet.type, packet.flags, len(packet.payload)) == (PacketType.IN_BAND, 0, 64) for packet in packets)
    return [(packet.transaction_id, VstorPacket.decode(packet.payload).operation) for packet in packets]


def luns(guest: StorVsc) -> list[int]:
    request = guest.command(bytes((REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 1, 0)), 256)
    assert good(request)
    data = guest.data(request.data_transfer_length)
    return [int.from_bytes(data[at : at + 2], "big") for at in range(8, len(data), 8)]


def test_a_disk_that_is_plugged_in_is_announced_and_answers(guest: StorVsc) -> None:
    guest.controller.attach(SECOND, lambda: disk(guest))
    assert notices(guest) == [(0, Operation.ENUMERATE_BUS)]
    assert luns(guest) == [0, 1]
    assert good(guest.command(rw10(READ, 0, 1), 512, at=SECOND))


def test_a_disk_that_is_pulled_out_is_announced_and_its_commands_find_no_lun(guest: StorVsc) -> None:
    guest.controller.detach(HERE)
    assert notices(guest) == [(0, Operation.REMOVE_DEVICE)]
    assert luns(guest) == []
    assert guest.command(rw10(READ, 0, 1), 512).srb_status == SrbStatus.INVALID_LUN


def test_a_command_under_way_ends_on_the_disk_that_it_was_sent_to(ram: GuestRam) -> None:
    image = blank(slow=True)
    guest = StorVsc(ram, image)
    guest.initialise()
    guest.submit(rw10(READ, 0, 1), 512)
    guest.controller.detach(HERE)
    assert notices(guest) == [(0, Operation.REMOVE_DEVICE)]
    image.work()
    (completion,) = guest.completions()
    assert good(completion.request)


def test_a_guest_that_has_not_looked_yet_is_told_nothing(ram: GuestRam) -> None:
    guest = StorVsc(ram, blank())
    guest.controller.attach(SECOND, lambda: disk(guest))
    guest.initialise()
    assert notices(guest) == []
    assert luns(guest) == [0, 1]


def test_a_place_that_is_taken_or_empty_is_the_operators_mistake(guest: StorVsc) -> None:
    with pytest.raises(OperatorError, match="there is a disk at 0:0:0"):
        guest.controller.attach(HERE, lambda: disk(guest))
    with pytest.raises(OperatorError, match=r"there is no disk at 0:0:1: choose one of those attached \(0:0:0\)"):
        guest.controller.detach(SECOND)
    assert notices(guest) == []


def test_a_controller_is_closed_when_no_disk_works_for_any_of_its_channels(ram: GuestRam) -> None:
    image = blank(slow=True)
    guest = StorVsc(ram, image, max_sub_channels=1)
    guest.initialise()
    guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(1).encode())
    sub_channel = Loopback(ram, range(201, 211), range(211, 221))
    (device,) = guest.sub_channels.offered
    sub_channel.open(device)
    guest.submit(rw10(READ, 0, 1), 512, channel=sub_channel)
    closed: list[str] = []
    guest.device.close(lambda: closed.append("primary"))
    assert not guest.sub_channels.offered, "they are withdrawn"
    device.close(lambda: closed.append("sub-channel"))
    assert closed == []
    image.work()
    assert sorted(closed) == ["primary", "sub-channel"]


def test_requests_and_bytes_of_all_channels_are_counted(ram: GuestRam) -> None:
    guest = StorVsc(ram, blank(), max_sub_channels=1)
    guest.initialise()
    guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(1).encode())
    sub_channel = Loopback(ram, range(201, 211), range(211, 221))
    sub_channel.open(guest.sub_channels.offered[0])
    guest.submit(rw10(READ, 0, 2), 1024, channel=sub_channel)
    guest.command(rw10(READ, 1 << 20, 1), 512)
    assert guest.device.counts() == {
        "opens": 1,
        "requests": 2,
        "completions": 2,
        "failures": 1,
        "bytes_read": 1024,
        "bytes_written": 0,
    }
