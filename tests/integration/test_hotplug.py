"""Devices that an operator takes from a running VM and gives to it, by the command line."""

from __future__ import annotations

import signal

from protocol.errors import ExitCode
from tests.integration.conftest import Lab
from tests.integration.machine import nothing_left, started, wait_for


def test_devices_come_and_go_while_the_vm_runs(lab: Lab) -> None:
    vm = lab("run", "--vm", "small", "--vcpus", "2", "--duration", "0", "--name", "plug")
    started("plug")
    wait_for("heartbeat's row", lambda: "heartbeat" in lab("cat", "/proc/interrupts").finished().out)
    assert lab("remove", "heartbeat").finished().out == "heartbeat: the guest has released relid 7\n"
    assert "heartbeat" not in lab("cat", "/proc/interrupts").finished().out
    assert lab("add", "heartbeat").finished().out.startswith("heartbeat: offered as relid ")
    wait_for("its new row", lambda: "heartbeat" in lab("cat", "/proc/interrupts").finished().out)
    assert lab("add", "scsi", "--kind", "storvsc", "--relid", "77").finished().out == "scsi: offered as relid 77\n"
    wait_for("the controller's row", lambda: "pri@storvsc1" in lab("cat", "/proc/interrupts").finished().out)
    lab("remove", "scsi").finished()
    assert "pri@storvsc1" not in lab("cat", "/proc/interrupts").finished().out
    vm.send(signal.SIGTERM)
    assert vm.finished().code == ExitCode.TERMINATED
    nothing_left()


MISTAKES = [
    (("remove", "nic"), "no device is called 'nic': there are heartbeat, shutdown, timesync, avma, storvsc"),
    (("add", "nic"), "no device is called 'nic': there are heartbeat, shutdown, timesync, avma, storvsc"),
    (("add", "storvsc"), "device 'storvsc': a device with this GUID pair is already offered (OPEN)"),
    (
        ("add", "a b", "--kind", "storvsc"),
        "device 'a b': name: string should match pattern '^[A-Za-z0-9][A-Za-z0-9_@-]{0,31}$'",
    ),
    (("add", "storvsc", "--kind", "storvsc"), "the VM has a device called 'storvsc' already: choose another name"),
    (("add", "x", "--set", "a=1"), "--set and --relid are for a new device: say its --kind too"),
    (("add", "x", "--kind", "storvsc", "--set", "a"), "--set a: write it as KEY=VALUE"),
    (
        ("add", "x", "--kind", "storvsc", "--set", "disks=[{path='/no/disk'}]"),
        "cannot open the disk image /no/disk: No such file or directory",
    ),
    (
        ("add", "x", "--kind", "storvsc", "--set", "sub_channels=many"),
        "device 'x' of kind storvsc: sub_channels: input should be a valid integer, "
        "unable to parse string as an integer",
    ),
]


def test_mistakes_are_one_line_and_cost_nothing(lab: Lab) -> None:
    vm = lab("run", "--vm", "small", "--vcpus", "1", "--duration", "0", "--name", "firm")
    started("firm")
    for arguments, line in MISTAKES:
        assert lab(*arguments).finished().complained(2) == line
    assert lab("remove", "timesync").finished().code == 0
    assert lab("remove", "timesync").finished().complained(2) == (
        "'timesync' is not in the VM: it was removed, and './launch.sh add timesync' brings it back"
    )
    vm.send(signal.SIGINT)
    assert vm.finished().code == 0
