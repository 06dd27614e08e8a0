"""The files of the VMBus in /sys: names, modes and contents as they were on Linux 6.1 and 6.12, patched or not."""

from __future__ import annotations

import errno
import stat

import pytest

from guest.fs.tree import Tree
from guest.vmbus.numa import Topology
from guest.vmbus.policy import Policy
from protocol.wire.guids import HV_AVMA1_GUID, HV_HEART_BEAT_GUID, HV_MOUSE_GUID, HV_NIC_GUID, HV_SCSI_GUID
from tests.guest_vmbus.conftest import HEARTBEAT, RING, Machine, MakeMachine

DISK, SUB, MOUSE, AVMA = 14, 24, 3, 12
BUS = "/sys/bus/vmbus"
DATA = RING - 4096
CHANNEL_FILES = {
    "cpu",
    "events",
    "in_mask",
    "interrupts",
    "intr_in_full",
    "intr_out_empty",
    "out_full_first",
    "out_full_total",
    "out_mask",
    "read_avail",
    "subchannel_id",
    "write_avail",
}
RING_FILES = ("intr_mask", "read_bytes_avail", "read_index", "write_bytes_avail", "write_index")
DEVICE_FILES = {
    "channel_vp_mapping",
    "channels",
    "class_id",
    "device",
    "device_id",
    "driver",
    "id",
    "modalias",
    "state",
    "subsystem",
    "uevent",
    "vendor",
    *(f"{direction}_{file}" for direction in ("in", "out") for file in RING_FILES),
}


def booted(vm: MakeMachine, policy: Policy = Policy.RFC, **how: object) -> Machine:
    machine = vm(4, policy, **how)
    machine.host.offer(DISK, HV_SCSI_GUID)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.host.offer(MOUSE, HV_MOUSE_GUID)
    machine.host.offer(AVMA, HV_AVMA1_GUID)
    machine.boot()
    machine.host.offer(SUB, HV_SCSI_GUID, sub=1, instance=DISK)
    machine.settle()
    return machine


def files(machine: Machine) -> Tree:
    return machine.systems[0].files


def device(machine: Machine, relid: int) -> str:
    return f"{BUS}/devices/{machine.channel(relid).device.name}"


def texts(machine: Machine, directory: str) -> dict[str, str | int]:
    """The regular files of a directory, or the errno with which they read."""
    found: dict[str, str | int] = {}
    for name in files(machine).list(directory):
        path = f"{directory}/{name}"
        if stat.S_ISREG(files(machine).mode(path)):
            try:
                found[name] = machine.read(path)
            except OSError as error:
                found[name] = error.errno or 0
    return found


@pytest.mark.parametrize("policy", list(Policy))
def test_a_device_in_use(vm: MakeMachine, policy: Policy) -> None:
    machine = booted(vm, policy)
    path = device(machine, DISK)
    assert set(files(machine).list(path)) == DEVICE_FILES
    assert {name: text for name, text in texts(machine, path).items() if not name.startswith(("in_", "out_"))} == {
        "channel_vp_mapping": "14:0\n24:1\n",
        "class_id": "{ba6163d9-04a1-4d29-b605-72e2ffb1dc7f}\n",
        "device": "0x1\n",
        "device_id": "{00000000-0000-0000-0000-00000000000e}\n",
        "id": "14\n",
        "modalias": "vmbus:d96361baa104294db60572e2ffb1dc7f\n",
        "state": "3\n",
        "uevent": "DRIVER=hv_recorder\nMODALIAS=vmbus:d96361baa104294db60572e2ffb1dc7f\n",
        "vendor": "0x1414\n",
    }


def test_an_open_and_idle_channel(vm: MakeMachine) -> None:
    machine = booted(vm)
    for relid, index in ((DISK, 0), (SUB, 1)):
        assert texts(machine, f"{device(machine, DISK)}/channels/{relid}") == {
            "cpu": f"{index}\n",
            "events": "0\n",
            "in_mask": "0\n",
            "interrupts": "0\n",
            "intr_in_full": "0\n",
            "intr_out_empty": "0\n",
            "out_full_first": "0\n",
            "out_full_total": "0\n",
            "out_mask": "0\n",
            "read_avail": "0\n",
            "subchannel_id": f"{index}\n",
            "write_avail": f"{DATA}\n",
        }


def test_of_a_closed_channel_what_is_in_the_ring_cannot_be_read(vm: MakeMachine) -> None:
    machine = booted(vm)
    channel = texts(machine, f"{device(machine, MOUSE)}/channels/{MOUSE}")
    refused = {name for name, text in channel.items() if text == errno.EINVAL}
    assert refused == {"in_mask", "out_mask", "read_avail", "write_avail"}
    assert set(channel) == CHANNEL_FILES
    mouse = texts(machine, device(machine, MOUSE))
    assert {name for name, text in mouse.items() if text == errno.EINVAL} == {
        name for name in DEVICE_FILES if name.startswith(("in_", "out_"))
    }
    assert mouse["state"] == "2\n"
    assert "driver" not in files(machine).list(device(machine, MOUSE))


def test_what_goes_through_the_rings_shows_in_the_files(vm: MakeMachine) -> None:
    machine = booted(vm)
    path = device(machine, HEARTBEAT)
    channel = f"{path}/channels/{HEARTBEAT}"
    assert machine.channel(HEARTBEAT).send_packet(bytes(48))
    assert machine.channel(HEARTBEAT).send_packet(bytes(48))
    packet = 16 + 48 + 8
    assert machine.read(f"{channel}/write_avail") == f"{DATA - 2 * packet}\n"
    assert machine.read(f"{path}/out_write_index") == f"{2 * packet}\n"
    assert machine.read(f"{path}/out_read_bytes_avail") == f"{2 * packet}\n"
    assert [machine.read(f"{channel}/{name}") for name in ("events", "intr_out_empty")] == ["1\n", "1\n"]
    while machine.channel(HEARTBEAT).send_packet(bytes(48)):
        pass
    assert not machine.channel(HEARTBEAT).send_packet(bytes(48))
    assert [machine.read(f"{channel}/out_full_{which}") for which in ("total", "first")] == ["2\n", "1\n"]
    machine.host.read(HEARTBEAT)
    machine.host.send(HEARTBEAT, b"to guest")
    machine.step()
    assert machine.read(f"{channel}/interrupts") == "1\n" == f"{sum(machine.row(HEARTBEAT))}\n"
    assert machine.read(f"{path}/in_read_index") == machine.read(f"{path}/in_write_index") == "32\n"
    assert machine.read(f"{path}/in_write_bytes_avail") == f"{DATA}\n"


def test_the_offer_that_linux_drops_has_a_device_only_before_the_rfc(vm: MakeMachine) -> None:
    for policy, there in ((Policy.RFC, False), (Policy.LEGACY, True)):
        machine = booted(vm, policy)
        names = files(machine).list(f"{BUS}/devices")
        assert (machine.host.offers[3].instance_id.hex[-1] == "c") and (
            str(machine.host.offers[3].instance_id) in names
        ) == there


def test_before_the_rfc_there_is_no_irq_of_the_vmbus(vm: MakeMachine) -> None:
    machine = booted(vm, Policy.LEGACY)
    assert files(machine).list("/proc/irq") == ["default_smp_affinity"]
    assert files(machine).list("/sys/kernel/irq") == []


def test_an_irq_has_a_directory_in_proc_from_its_first_request_and_one_in_sys_from_the_offer(vm: MakeMachine) -> None:
    machine = booted(vm)
    irqs = {str(machine.irq(relid)) for relid in (DISK, HEARTBEAT, SUB)}
    assert set(files(machine).list("/proc/irq")) == irqs | {"default_smp_affinity"}
    assert set(files(machine).list("/sys/kernel/irq")) == irqs | {str(machine.irq(MOUSE))}
    assert texts(machine, f"/sys/kernel/irq/{machine.irq(HEARTBEAT)}") == {
        "actions": "heartbeat\n",
        "chip_name": "VMBus\n",
        "hwirq": "7\n",
        "name": "",
        "per_cpu_count": "0,0,0,0\n",
        "type": "edge\n",
        "wakeup": "disabled\n",
    }
    assert texts(machine, f"/proc/irq/{machine.irq(HEARTBEAT)}") == {
        "affinity_hint": "1\n",
        "effective_affinity": "1\n",
        "effective_affinity_list": "0\n",
        "node": "0\n",
        "smp_affinity": "1\n",
        "smp_affinity_list": "0\n",
        "spurious": "count 0\nunhandled 0\nlast_unhandled 0 ms\n",
    }


def test_a_rescind_takes_everything_away_and_a_new_offer_brings_it_back(vm: MakeMachine) -> None:
    machine = booted(vm)
    irq, name = machine.irq(HEARTBEAT), machine.channel(HEARTBEAT).device.name
    machine.host.rescind(HEARTBEAT)
    machine.settle()
    for path in (
        f"/proc/irq/{irq}",
        f"/sys/kernel/irq/{irq}",
        f"{BUS}/devices/{name}",
        f"{BUS}/drivers/hv_recorder/{name}",
    ):
        with pytest.raises(FileNotFoundError):
            files(machine).mode(path)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.settle()
    assert machine.read(f"/sys/kernel/irq/{irq}/hwirq") == "7\n", "the lowest free number"
    assert machine.read(f"{BUS}/devices/{name}/state") == "3\n"


def test_links_lead_from_the_bus_to_the_device_and_back(vm: MakeMachine) -> None:
    machine = booted(vm)
    tree, name = files(machine), machine.channel(DISK).device.name
    assert tree.link(f"{BUS}/devices/{name}") == f"../../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/{name}"
    driver = f"{BUS}/devices/{name}/driver"
    assert tree.link(driver) == "../../../../../../bus/vmbus/drivers/hv_recorder"
    assert tree.read(f"{driver}/{name}/id") == b"14\n"
    assert tree.read(f"{BUS}/devices/{name}/subsystem/devices/{name}/id") == b"14\n"


def test_modes_are_linuxs(vm: MakeMachine) -> None:
    machine = booted(vm)
    tree, path, irq = files(machine), device(machine, DISK), f"/proc/irq/{machine.irq(DISK)}"
    for file, mode in [
        (f"{path}/channels/{DISK}/cpu", 0o644),
        (f"{path}/channels/{DISK}/events", 0o444),
        (f"{path}/id", 0o444),
        (f"{BUS}/drivers/hv_recorder/bind", 0o200),
        (f"{irq}/smp_affinity", 0o644),
        (f"{irq}/spurious", 0o444),
        ("/proc/irq/default_smp_affinity", 0o644),
        ("/proc/interrupts", 0o444),
    ]:
        assert tree.mode(file) == stat.S_IFREG | mode, file
    assert tree.mode(path) == stat.S_IFLNK | 0o777
    assert tree.mode(irq) == stat.S_IFDIR | 0o555


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/proc/interrupts", errno.EIO),
        ("/sys/devices/system/cpu/online", errno.EACCES),
        ("/proc/irq", errno.EISDIR),
        ("/proc/none", errno.ENOENT),
        ("/proc/stat/none", errno.ENOTDIR),
        ("relative", errno.ENOENT),
    ],
)
def test_what_cannot_be_written_says_so_as_linux_does(vm: MakeMachine, path: str, number: int) -> None:
    machine = booted(vm)
    with pytest.raises(OSError) as caught:
        machine.write(path, "1\n")
    assert caught.value.errno == number


def test_what_cannot_be_read_says_so_too(vm: MakeMachine) -> None:
    machine = booted(vm)
    tree = files(machine)
    for path, number in [
        (f"{BUS}/drivers/hv_recorder/unbind", errno.EACCES),
        ("/proc/irq", errno.EISDIR),
        ("/sys/none", errno.ENOENT),
    ]:
        with pytest.raises(OSError) as caught:
            tree.read(path)
        assert caught.value.errno == number
    with pytest.raises(OSError) as caught:
        tree.link("/proc/stat")
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(NotADirectoryError):
        tree.list("/proc/stat")


def test_numa_shows_only_where_there_is_more_than_one_node(vm: MakeMachine) -> None:
    machine = booted(vm)
    assert files(machine).list("/sys/devices/system") == ["cpu"]
    machine = booted(vm, topology=Topology((0b0011, 0b1100), housekeeping=0xF))
    assert set(files(machine).list("/sys/devices/system/node")) == {"online", "possible", "node0", "node1"}
    assert machine.read("/sys/devices/system/node/node1/cpulist") == "2-3\n"
    assert machine.read("/sys/devices/system/node/node1/cpumap") == "c\n"
    assert machine.read("/sys/devices/system/node/online") == "0-1\n"
    machine.write(f"{device(machine, HEARTBEAT)}/channels/{HEARTBEAT}/cpu", "3")
    assert machine.read(f"{device(machine, HEARTBEAT)}/numa_node") == "1\n"


def test_every_file_of_the_tree_can_be_reached_and_read_without_a_cpu(vm: MakeMachine) -> None:
    machine = booted(vm)
    tree, seen = files(machine), 0
    todo = ["/proc", "/sys"]
    while todo:
        path = todo.pop()
        mode = tree.mode(path)
        if stat.S_ISDIR(mode):
            todo += [f"{path}/{name}" for name in tree.list(path)]
        elif stat.S_ISREG(mode) and mode & 0o400 and "/channels/3/" not in path and f"{MOUSE:x}/" not in path:
            assert machine.read(path).endswith("\n") or path.endswith(("/name", "/actions"))
            seen += 1
    assert seen > 100


def test_a_network_device_is_number_three(vm: MakeMachine) -> None:
    machine = vm(2, Policy.RFC)
    machine.host.offer(20, HV_NIC_GUID)
    machine.boot()
    assert machine.read(f"{device(machine, 20)}/device") == "0x3\n"
