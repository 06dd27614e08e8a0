"""An unmodified hv_netvsc against our NIC: four channels, and versions of the protocol that are older than it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from host.machine import DeviceSpec
from lab.linux import sysfs
from lab.linux.vm import LinuxVm
from lab.spec import VmSpec
from protocol.wire.guids import HV_NIC_GUID

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUEUES = 4
MACS = {"nic": "00:15:5d:00:00:01", "v1": "00:15:5d:00:00:11", "v4": "00:15:5d:00:00:14", "v5": "00:15:5d:00:00:15"}
STATIONS = [f"10.0.0.{host}" for host in range(2, 26)]
GUEST = "10.0.0.1/24"


def nic(name: str, nvsp: str, queues: int = 2) -> DeviceSpec:
    options = {"queues": queues, "mac": MACS[name], "mtu": 9000, "ips": STATIONS, "nvsp": nvsp}
    return DeviceSpec("netvsc", name, None, options)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vm(template: VmSpec) -> AsyncIterator[LinuxVm]:
    devices = [nic("nic", "6.1", QUEUES), nic("v1", "1"), nic("v4", "4"), nic("v5", "5")]
    async with LinuxVm(replace(template, name="net", vcpus=QUEUES, devices=devices)) as running:
        yield running


async def interface(vm: LinuxVm, name: str) -> str:
    """The guest's name for a NIC."""
    return (await vm.run(f"basename $(dirname $(grep -l {MACS[name]} /sys/class/net/*/address))")).strip()


async def configured(vm: LinuxVm, name: str) -> str:
    """A NIC that is up and has an address; no other has."""
    found = await interface(vm, name)
    await vm.run(
        "for each in /sys/class/net/eth*; do ip link set ${each##*/} down; ip addr flush dev ${each##*/}; done\n"
        f"ip addr add {GUEST} dev {found}; ip link set {found} up"
    )
    return found


async def ping(vm: LinuxVm, words: str = "", station: str = STATIONS[0]) -> None:
    """Every request must be answered."""
    output = await vm.run(f"ping -q -W 5 {words or '-c 3'} {station}")
    assert " 0% packet loss" in output, output


async def counts(vm: LinuxVm, name: str = "nic") -> dict[str, int]:
    found: dict[str, int] = (await vm.host("snapshot"))["devices"][name]["counts"]
    return found


async def complaints(vm: LinuxVm) -> list[str]:
    found: list[str] = (await vm.host("snapshot"))["complaints"]
    return found


async def open_channels(vm: LinuxVm, name: str = "nic") -> dict[str, int]:
    """Target VP of each open channel of a NIC, by its name."""
    channels = (await vm.host("snapshot"))["channels"]
    mine = {each: channel for each, channel in channels.items() if each.partition(".")[0] == name}
    return {each: channel["target_vp"] for each, channel in mine.items() if channel["state"] == "OPEN"}


async def queues(vm: LinuxVm, eth: str, wanted: int) -> bool:
    """Wait for the driver to be done with its sub-channels."""
    return await sysfs.wait_for(vm, f"[ $(ls -d /sys/class/net/{eth}/queues/* | wc -l) = {2 * wanted} ]")


async def test_each_nic_is_there_with_its_address_and_driver(vm: LinuxVm) -> None:
    for name in MACS:
        assert re.fullmatch(r"eth\d", await interface(vm, name))
    found = [each for each in await sysfs.devices(vm) if each.class_id == HV_NIC_GUID]
    assert {each.driver for each in found} == {"hv_netvsc"} and len(found) == len(MACS)


async def test_every_sub_channel_is_open_and_has_a_processor_of_its_own(vm: LinuxVm) -> None:
    eth = await configured(vm, "nic")
    assert await queues(vm, eth, QUEUES)
    channels = await open_channels(vm)
    assert channels.keys() == {"nic", "nic.1", "nic.2", "nic.3"}
    assert set(channels.values()) == set(range(QUEUES))


async def test_pings_of_all_sizes_are_answered(vm: LinuxVm) -> None:
    await configured(vm, "nic")
    for size in (0, 1, 56, 1472, 1473, 20000, 60000):
        await ping(vm, f"-c 2 -s {size}")


async def test_hundreds_of_pings_as_fast_as_they_go(vm: LinuxVm) -> None:
    await configured(vm, "nic")
    await ping(vm, "-A -c 500 -s 1400")


async def test_flows_spread_over_the_channels_both_ways(vm: LinuxVm) -> None:
    eth = await configured(vm, "nic")
    assert await queues(vm, eth, QUEUES)
    await vm.run("for each in " + " ".join(STATIONS) + "; do ping -q -c 3 -A -W 5 $each & done; wait")
    after = await counts(vm)
    assert all(after[f"received_frames.{channel}"] > 0 for channel in range(QUEUES)), after
    assert all(after[f"transmitted_frames.{channel}"] > 0 for channel in range(QUEUES)), after


async def test_what_the_guest_counted_is_what_the_host_counted(vm: LinuxVm) -> None:
    eth = await configured(vm, "nic")
    kinds = ("transmitted_frames", "transmitted_bytes", "received_frames", "received_bytes")

    async def totals() -> tuple[list[int], list[int]]:
        """The guest's and the host's, while nothing can be sent: a kernel talks of its own accord, too."""
        statistics = "cd statistics; cat tx_packets tx_bytes rx_packets rx_bytes"
        guest = await vm.run(f"cd /sys/class/net/{eth}; ip link set {eth} down; {statistics}; ")
        host = await counts(vm)
        return list(map(int, guest.split())), [host[kind] for kind in kinds]

    guest_before, host_before = await totals()
    await vm.run(f"ip link set {eth} up")
    await ping(vm, "-A -c 50 -s 3000", STATIONS[5])
    guest_after, host_after = await totals()
    moved = [after - before for before, after in zip(host_before, host_after, strict=True)]
    assert [after - before for before, after in zip(guest_before, guest_after, strict=True)] == moved
    assert moved[0] >= 150 and moved[2] >= 150, "three fragments each"


@pytest.mark.parametrize("mtu", [1400, 9000, 1500])
async def test_the_mtu_can_be_changed(vm: LinuxVm, mtu: int) -> None:
    """All channels are closed, the buffers are given back, and everything is set up again."""
    eth = await configured(vm, "nic")
    opens = (await vm.host("snapshot"))["channels"]["nic"]["opens"]
    await vm.run(f"ip link set {eth} mtu {mtu}")
    assert (await vm.run(f"cat /sys/class/net/{eth}/mtu")).strip() == str(mtu)
    assert await queues(vm, eth, QUEUES)
    assert (await vm.host("snapshot"))["channels"]["nic"]["opens"] == opens + 1
    assert len(await open_channels(vm)) == QUEUES
    await ping(vm, f"-c 3 -s {mtu - 28}")


async def test_nothing_is_delivered_while_the_interface_is_down(vm: LinuxVm) -> None:
    eth = await configured(vm, "nic")
    for _ in range(10):
        await vm.run(f"ip link set {eth} down; ip link set {eth} up")
    await ping(vm)


async def test_the_cable_can_be_pulled(vm: LinuxVm) -> None:
    eth = await configured(vm, "nic")
    for up in (False, True):
        await vm.host("act", name="nic", action="link", up=up)
        assert await sysfs.wait_for(vm, f"[ $(cat /sys/class/net/{eth}/carrier) = {int(up)} ]")
    await ping(vm)


@pytest.mark.parametrize(("name", "channels"), [("v1", 1), ("v4", 1), ("v5", 2)])
async def test_older_versions_of_the_protocol_work_too(vm: LinuxVm, name: str, channels: int) -> None:
    """Before version 5 there are no sub-channels."""
    eth = await configured(vm, name)
    assert await queues(vm, eth, channels)
    assert len(await open_channels(vm, name)) == channels
    await ping(vm, "-c 3 -s 1400")


async def test_a_nic_comes_and_goes_under_load(vm: LinuxVm) -> None:
    """The cable is pulled first, as a virtual switch does: a rescind while a frame is in flight hangs this kernel.

    ``vmbus_reset_channel_cb`` takes the channel's callback away before ``netvsc_remove``, which then waits for the
    completion of every frame without end (``rndis_filter_halt_device``), with the rtnl lock held.
    """
    for _ in range(3):
        eth = await configured(vm, "nic")
        assert await queues(vm, eth, QUEUES)
        received = f"cat /sys/class/net/{eth}/statistics/rx_packets"
        before = int(await vm.run(received))
        await vm.run(f"ping -q -A -w 30 -c 100000 {STATIONS[0]} >/dev/null 2>&1 &")
        assert await sysfs.wait_for(vm, f"[ $({received}) -gt {before + 20} ]")
        await vm.host("act", name="nic", action="link", up=False)
        assert await sysfs.wait_for(vm, f"[ $(cat /sys/class/net/{eth}/carrier) = 0 ]")
        await vm.host("rescind", name="nic")
        assert await sysfs.wait_for(vm, f"! grep -q {MACS['nic']} /sys/class/net/*/address")
        assert await open_channels(vm) == {}
        await vm.host("act", name="nic", action="link", up=True)
        await vm.host("offer", name="nic")
        assert await sysfs.wait_for(vm, f"grep -q {MACS['nic']} /sys/class/net/*/address")
    await configured(vm, "nic")
    await ping(vm)


async def test_the_host_had_nothing_to_complain_about_but_versions(vm: LinuxVm) -> None:
    """The old NICs refused the new versions, one at a time."""
    found = [each for each in await complaints(vm) if "are not spoken here" not in each]
    assert found == []
    assert "hv_netvsc" not in await vm.run("dmesg | grep -i -E 'error|fail|invalid|unable' || true")


async def test_a_guest_asks_for_as_many_channels_as_it_has_processors(template: VmSpec) -> None:
    async with LinuxVm(replace(template, name="two", vcpus=2, devices=[nic("nic", "6.1", queues=8)])) as two:
        eth = await configured(two, "nic")
        assert await queues(two, eth, 2)
        assert set((await open_channels(two)).values()) == {0, 1}
        await ping(two)
        assert await complaints(two) == []
