"""VM files: what they may say, and the line that tells of a mistake."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from host.catalogue import KINDS
from host.vmbus.options import HostOptions
from lab import presets, vm_file
from lab.machine import Outside, guest_spec, machine_spec
from lab.spec import VmSpec
from lab.vm_file import GuestOptions, Heading, VmFile
from lab.vm_keys import TABLES, lines
from protocol.errors import OperatorError
from protocol.wire.versions import Version


def test_the_small_preset_is_the_vm_that_nothing_is_said_of() -> None:
    assert vm_file.load("small") == VmSpec()


def test_a_file_describes_a_vm(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(
        """
        vcpus = 4
        generation = 1
        policy = "legacy"
        numa = [[0, 1], [2, 3]]
        sub_channel_order = ["data", "boot"]

        [guest]
        max_version = "5.2"
        isolated = [3]

        [host]
        modify = "refuse"
        delay = { modify = 0.25 }
        max_version = "5.3"

        [[device]]
        kind = "storvsc"
        name = "boot"
        relid = 14
        disks = [{ path = "/dev/null", writable = true }]

        [[device]]
        kind = "storvsc"
        name = "data"
        sub_channels = 3
        """
    )
    spec = vm_file.load(str(path))
    assert VmSpec.from_json(spec.to_json()) == spec
    outside = Outside.of(spec)
    host, guest = machine_spec(spec, outside), guest_spec(spec, outside)
    assert [(device.name, device.relid) for device in host.devices] == [("boot", 14), ("data", None)]
    assert host.sub_channel_order == ("data", "boot")
    assert host.vmbus.max_version == Version.V5_3 and {step.name for step in host.vmbus.delay} == {"MODIFY"}
    assert guest.topology.nodes == (0b0011, 0b1100) and guest.topology.housekeeping == 0b0111
    assert guest.max_version == Version.V5_2 and guest.legacy_pic


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_a_vm(name: str) -> None:
    spec = vm_file.load(name)
    machine_spec(spec, Outside.of(spec))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("vcpu = 3", "vcpu: there is no such key; there are vcpus, generation, "),
        ("vcpus = 99", "vcpus: input should be less than or equal to 64"),
        ("vcpus = ", "Invalid value (at end of document)"),
        ("generation = 3", "generation: input should be 1 or 2"),
        ("time_scale = inf", "time_scale: input should be less than or equal to 1000"),
        ("time_scale = nan", "time_scale: input should be less than or equal to 1000"),
        ("[host]\ndelay = {open = -1}", "delay.open: input should be greater than or equal to 0"),
        ("[host]\nmodify_status = -1", "modify_status: input should be greater than or equal to 0"),
        ("[host]\ndelay = {open = nan}", "delay.open: input should be greater than or equal to 0"),
        ('[[device]]\nkind = "keyboard"\nevery = -1', "(keyboard): every: input should be greater than or equal to 0"),
        ('[[device]]\nkind = "mouse"\nevery = inf', "(mouse): every: input should be a finite number"),
        ('[[device]]\nkind = "balloon"\npages = 5', "(balloon): pages: input should be a multiple of 512"),
        ('policy = "v9"', "policy: input should be 'legacy' or 'rfc'"),
        ("vcpus = 2\nnuma = [[0], [0, 1]]", "numa: each of the CPUs 0 to 1 belongs to exactly one node"),
        ("vcpus = 2\nnuma = [[0], [2]]", "numa: there is no CPU 2; there are 0 to 1"),
        ("vcpus = 2\n[guest]\nisolated = [5]", "guest.isolated: there is no CPU 5; there are 0 to 1"),
        ('[guest]\nmax_version = "7"', "guest.max_version: input should be '2.4', '3.0', "),
        ('[host]\nmodify = "x"', "modify: input should be 'answer', 'refuse' or 'ignore'"),
        ("[host]\nmood = 1", "mood: there is no such key; there are max_version, "),
        ('[host]\nmax_version = "9.9"', "max_version: there is no VMBus version '9.9'; there are "),
        ('sub_channel_order = ["nic"]', "sub_channel_order: no device is called 'nic'; there are "),
        ('[[device]]\nname = "x"', "device 1: kind: field required"),
        ('[[device]]\nkind = "x"', "device 1: kind: there is no 'x'; there are heartbeat, "),
        ('[[device]]\nkind = "heartbeat"\nrelid = 5000', "device 1: relid: input should be less than or equal to 2047"),
        (
            '[[device]]\nkind = "storvsc"\ndisk = "a"',
            "(storvsc): disk: there is no such key; there are disks, ",
        ),
        (
            '[[device]]\nkind = "storvsc"\ndisks = [{path = "x", writeable = true}]',
            "device 1 (storvsc): disks.0.writeable: there is no such key; there are path, writable",
        ),
        (
            '[[device]]\nkind = "storvsc"\n[[device]]\nkind = "storvsc"',
            "two devices have the name storvsc; give each its own",
        ),
        ("[host]\nmodify_status = -1", "host: modify_status: input should be greater than or equal to 0"),
        ("[host]\ndelay = {gpadl = nan}", "host: delay.gpadl: input should be greater than or equal to 0"),
        ("host = 3", "host: input should be a table"),
        ('[[device]]\nkind = "storvsc"\ndisks = ["a"]', "device 1 (storvsc): disks.0: input should be a table"),
        ('[[device]]\nkind = "shutdown"\nx = 1', "device 1 (shutdown): x: there is no such key; there are none"),
        ('[[device]]\nkind = "kvp"\nevery = -1', "(kvp): every: input should be greater than or equal to 0"),
        ('[[device]]\nkind = "vss"\nevery = nan', "(vss): every: input should be a finite number"),
        ('[[device]]\nkind = "balloon"\npages = 100', "(balloon): pages: input should be a multiple of 512"),
        ('[[device]]\nkind = "framebuffer"\nmodes = []', "(framebuffer): modes: tuple should have at least 1 item"),
        (
            '[[device]]\nkind = "framebuffer"\nmodes = [[100000, 1]]',
            "(framebuffer): modes.0.0: input should be less than or equal to 65535",
        ),
        (
            '[[device]]\nkind = "netvsc"\nmac = "ff:ff:ff:ff:ff:ff"',
            "(netvsc): mac: input should be the address of one station: no group's (an odd first byte), not all zeros",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key_and_what_is_allowed(text: str, line: str) -> None:
    with pytest.raises(OperatorError) as mistake:
        vm_file.of(text, "my.toml")
    said = str(mistake.value)
    assert "\n" not in said
    assert said.startswith(("my.toml: ", "my.toml, "))
    assert line in said


def test_a_guest_is_not_started_on_a_host_with_which_it_has_no_version_in_common() -> None:
    spec = vm_file.of('[host]\nmax_version = "1.1"', "my.toml")
    with pytest.raises(OperatorError, match=r"host: max_version: a guest asks for 2\.4 at least"):
        guest_spec(spec, Outside.of(spec))


def test_every_key_is_told_with_what_is_allowed() -> None:
    told = "\n".join(lines())
    for shape in (VmFile, GuestOptions, HostOptions, Heading, *(kind.options for kind in KINDS.values())):
        for key in {field.name for field in fields(shape)} - set(TABLES):
            assert f"\n    {key} " in told, key
    assert "vcpus                    integer from 1 to 64; 8" in told
    assert all(f'of kind "{name}"' in told for name, kind in KINDS.items() if fields(kind.options))


def test_a_file_that_is_not_there_is_told_with_the_presets(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"cannot read the VM file .*: No such file or directory; presets are "):
        vm_file.load(str(tmp_path / "none.toml"))
