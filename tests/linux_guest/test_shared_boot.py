"""What an unmodified kernel makes of our host, all in one boot."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from uuid import UUID

import pytest

from lab.linux import sysfs
from lab.linux.report import make_report
from lab.linux.sysfs import GuestDevice
from lab.linux.vm import LinuxVm
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_SCSI_GUID, HV_SHUTDOWN_GUID, HV_TS_GUID

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def device(vm: LinuxVm, class_id: UUID) -> GuestDevice:
    """The guest's only device of a class."""
    (found,) = [each for each in await sysfs.devices(vm) if each.class_id == class_id]
    return found


async def hypervisor_interrupts(vm: LinuxVm) -> list[int]:
    """The HYP row of the guest's /proc/interrupts."""
    (row,) = [line for line in (await vm.read_file("/proc/interrupts")).splitlines() if line.startswith("HYP:")]
    return [int(word) for word in row.split()[1 : 1 + vm.spec.vcpus]]


async def everything_works(vm: LinuxVm, images: tuple[Path, Path]) -> None:
    """All drivers are bound and do their work."""
    assert await sysfs.wait_for(vm, "[ $(ls -d /sys/bus/vmbus/drivers/hv_utils/*-* | wc -l) = 3 ]")
    digest = hashlib.sha256(images[0].read_bytes()).hexdigest()
    assert (await vm.run(f"sha256sum {await sysfs.disk(vm, 0)}")).split()[0] == digest
    before = (await vm.host("snapshot"))["devices"]["heartbeat"]["counts"]["answered"]
    await vm.run("sleep 3")
    assert (await vm.host("snapshot"))["devices"]["heartbeat"]["counts"]["answered"] > before


async def test_the_guest_knows_that_it_runs_on_hyper_v(linux: LinuxVm) -> None:
    assert "Hypervisor detected: Microsoft Hyper-V" in await linux.run("dmesg")


async def test_the_newest_version_that_both_know_is_negotiated(linux: LinuxVm) -> None:
    assert await sysfs.negotiated_version(linux) == "5.3"
    assert (await linux.host("snapshot"))["version"] == "5.3"


@pytest.mark.parametrize(
    ("class_id", "relid", "driver"),
    [
        (HV_HEART_BEAT_GUID, 7, "hv_utils"),
        (HV_SHUTDOWN_GUID, 9, "hv_utils"),
        (HV_TS_GUID, 10, "hv_utils"),
        (HV_SCSI_GUID, 14, "hv_storvsc"),
    ],
)
async def test_each_offer_is_in_sysfs_with_its_class_and_driver(
    linux: LinuxVm, class_id: UUID, relid: int, driver: str
) -> None:
    found = await device(linux, class_id)
    assert (found.relid, found.driver) == (relid, driver)


async def test_what_the_guest_counted_is_what_the_host_counted(linux: LinuxVm) -> None:
    report = await make_report(linux)
    assert [str(check) for check in report.failed] == []
    assert report.complaints == []


async def test_the_guest_answers_heartbeats(linux: LinuxVm) -> None:
    before = (await linux.host("snapshot"))["devices"]["heartbeat"]["counts"]["answered"]
    await linux.run("sleep 3")
    assert (await linux.host("snapshot"))["devices"]["heartbeat"]["counts"]["answered"] > before


async def test_time_synchronisation_sets_a_wrong_clock(linux: LinuxVm) -> None:
    await linux.run("rmmod hv_utils; date -s '2001-01-01 00:00:00'; insmod /lib/modules/hv_utils.ko")
    assert await sysfs.wait_for(linux, "[ $(date +%s) -gt 1500000000 ]")
    assert abs(int(await linux.run("date +%s")) - time.time()) <= 2


async def test_there_are_two_disks_and_no_ghosts(linux: LinuxVm) -> None:
    assert await sysfs.wait_for(linux, "[ -b /dev/sda -a -b /dev/sdb ]")
    assert (await linux.run("ls /sys/class/scsi_device")).split() == ["0:0:0:0", "0:0:0:1"]


async def test_every_byte_of_the_disk_arrives(linux: LinuxVm, images: tuple[Path, Path]) -> None:
    digest = hashlib.sha256(images[0].read_bytes()).hexdigest()
    assert (await linux.run(f"sha256sum {await sysfs.disk(linux, 0)}")).split()[0] == digest


async def test_a_file_system_survives_a_remount_and_the_host_sees_it(linux: LinuxVm, images: tuple[Path, Path]) -> None:
    device = await sysfs.disk(linux, 1)
    output = await linux.run(
        f"""set -e
        mke2fs -q {device} >/dev/null; mkdir -p /mnt; mount -t ext4 {device} /mnt
        dd if=/dev/urandom of=/mnt/file bs=64k count=64 2>/dev/null; sha256sum </mnt/file
        umount /mnt; echo 3 >/proc/sys/vm/drop_caches
        mount -t ext4 {device} /mnt; sha256sum </mnt/file; umount /mnt
        sha256sum <{device}"""
    )
    first, second, disk = (line.split()[0] for line in output.splitlines())
    assert first == second
    assert disk == hashlib.sha256(images[1].read_bytes()).hexdigest()


async def test_a_read_only_disk_cannot_be_written(linux: LinuxVm) -> None:
    first, second = await sysfs.disk(linux, 0), await sysfs.disk(linux, 1)
    assert (await linux.run(f"cd /sys/block; cat {first[5:]}/ro {second[5:]}/ro")).split() == ["1", "0"]
    assert (await linux.attempt(f"dd if=/dev/zero of={first} count=1")).status != 0


async def test_modifychannel_moves_the_interrupts_of_a_channel(linux: LinuxVm) -> None:
    channel = "cd /sys/bus/vmbus/devices/*/channels/14"
    try:
        await linux.run(f"{channel}; echo 1 >cpu")
        before = await hypervisor_interrupts(linux)
        await linux.run("dd if=/dev/sda of=/dev/null bs=4k count=100 iflag=direct")
        after = await hypervisor_interrupts(linux)
        assert after[1] - before[1] == 100
        assert (await linux.host("snapshot"))["channels"]["storvsc"]["target_vp"] == 1
    finally:
        await linux.run(f"{channel}; echo 0 >cpu")
    assert (await linux.host("snapshot"))["channels"]["storvsc"]["target_vp"] == 0


async def test_services_can_be_rescinded_and_offered_again(linux: LinuxVm, images: tuple[Path, Path]) -> None:
    for name in ("heartbeat", "timesync", "shutdown"):
        for _ in range(34):
            await linux.host("rescind", name=name)
            await linux.host("offer", name=name)
    await everything_works(linux, images)


async def test_drivers_can_be_removed_and_loaded(linux: LinuxVm, images: tuple[Path, Path]) -> None:
    await linux.run("rmmod hv_storvsc hv_utils")
    states = {name: channel["state"] for name, channel in (await linux.host("snapshot"))["channels"].items()}
    assert states == dict.fromkeys(states, "CLOSED")
    await linux.run("insmod /lib/modules/hv_utils.ko; insmod /lib/modules/hv_storvsc.ko")
    await everything_works(linux, images)


async def test_the_bus_can_be_unloaded_and_contacted_again(linux: LinuxVm, images: tuple[Path, Path]) -> None:
    await linux.run("rmmod $(awk '$1 == \"hv_vmbus\" {print $4}' /proc/modules | tr , ' ') hv_vmbus")
    channels = (await linux.host("snapshot"))["channels"]
    assert {channel["relid"] for channel in channels.values()} == {None}
    await linux.run(
        """while read -r module; do
            grep -q "^$module " /proc/modules || insmod "/lib/modules/$module.ko"
        done </etc/modules"""
    )
    await everything_works(linux, images)
