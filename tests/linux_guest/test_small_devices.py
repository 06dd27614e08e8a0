"""An unmodified kernel's drivers of the small synthetic devices, against our host."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from host.machine import DeviceSpec
from lab.linux import sysfs
from lab.linux.daemon import KVP, VSS, play
from lab.linux.vm import LinuxVm
from lab.spec import VmSpec
from protocol.wire.dynmem import PAGES_IN_2M
from protocol.wire.ic import IcStatus
from protocol.wire.kvp import MAX_KEY_SIZE, KvpOperation, KvpPool
from protocol.wire.synthhid import Button
from protocol.wire.vss import VssOperation
from tests.linux_guest.evdev import EV_ABS, EV_KEY, EV_REL, Event, Listener

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYBOARD, MOUSE = "AT Translated Set 2 keyboard", "Microsoft Vmbus HID-compliant Mouse"
KEY_LEFTSHIFT, KEY_H, KEY_I, KEY_RIGHT = 42, 35, 23, 106
BTN_LEFT, REL_WHEEL, ABS_X, ABS_Y = 0x110, 8, 0, 1
DRIVERS = {
    "kvp": "hv_utils",
    "vss": "hv_utils",
    "balloon": "hv_balloon",
    "mouse": "hid_hyperv",
    "keyboard": "hyperv_keyboard",
    "framebuffer": "hyperv_fb",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vm(template: VmSpec) -> AsyncIterator[LinuxVm]:
    devices = [DeviceSpec("shutdown", "shutdown"), *(DeviceSpec(kind, kind) for kind in DRIVERS)]
    async with LinuxVm(replace(template, name="small", vcpus=1, devices=devices)) as running:
        await running.run("insmod /lib/modules/hv_balloon.ko")
        yield running
        assert (await running.host("snapshot"))["complaints"] == []


async def act(vm: LinuxVm, name: str, action: str, **arguments: object) -> object:
    return await vm.host("act", name=name, action=action, **arguments)


async def counts(vm: LinuxVm, name: str) -> dict[str, int]:
    found: dict[str, int] = (await vm.host("snapshot"))["devices"][name]["counts"]
    return found


@pytest.mark.parametrize("name", DRIVERS)
async def test_every_device_has_its_driver(vm: LinuxVm, name: str) -> None:
    relid = (await vm.host("snapshot"))["channels"][name]["relid"]
    (found,) = [each for each in await sysfs.devices(vm) if each.relid == relid]
    assert found.driver == DRIVERS[name]


async def test_what_is_typed_arrives_as_keys(vm: LinuxVm) -> None:
    listener = Listener(vm, KEYBOARD)
    await listener.start()
    await act(vm, "keyboard", "type_text", text="Hi")
    await act(vm, "keyboard", "press", code=0x4D, prefix=4)
    assert await listener.hear(8) == [
        Event(EV_KEY, code, value)
        for code, value in (
            (KEY_LEFTSHIFT, 1),
            (KEY_H, 1),
            (KEY_H, 0),
            (KEY_LEFTSHIFT, 0),
            (KEY_I, 1),
            (KEY_I, 0),
            (KEY_RIGHT, 1),
            (KEY_RIGHT, 0),
        )
    ]


async def test_the_pointer_goes_where_the_host_puts_it(vm: LinuxVm) -> None:
    listener = Listener(vm, MOUSE)
    await listener.start()
    await act(vm, "mouse", "move", x=1000, y=2000)
    await act(vm, "mouse", "move", x=1000, y=32767, wheel=-3, buttons=int(Button.LEFT))
    events = [event for event in await listener.hear(5) if event.type != EV_REL or event.code == REL_WHEEL]
    assert sorted(events) == sorted(
        [
            Event(EV_ABS, ABS_X, 1000),
            Event(EV_ABS, ABS_Y, 2000),
            Event(EV_ABS, ABS_Y, 32767),
            Event(EV_KEY, BTN_LEFT, 1),
            Event(EV_REL, REL_WHEEL, -3),
        ]
    )


async def test_the_console_is_drawn_into_memory_that_the_host_sees(vm: LinuxVm) -> None:
    assert await vm.read_file("/sys/class/graphics/fb0/virtual_size") == "1024,768\n"
    assert await vm.read_file("/sys/class/graphics/fb0/name") == "hyperv_fb\n"
    assert await sysfs.wait_for(vm, "grep -q hyperv_fb /proc/fb")
    before = await counts(vm, "framebuffer")
    assert (before["width"], before["height"]) == (1024, 768)
    while not (await counts(vm, "framebuffer"))["dirt"]:
        await vm.run("echo 'somebody looks at this' >/dev/tty1; sleep 0.1")
    picture = await act(vm, "framebuffer", "picture")
    assert isinstance(picture, bytes)
    assert len(picture) == 1024 * 768 * 4
    assert any(picture)


async def test_pages_go_to_the_host_and_come_back(vm: LinuxVm) -> None:
    async def free() -> int:
        return int(await vm.run("awk '/MemFree/ {print $2}' /proc/meminfo")) // 4

    before, pages = await free(), 8 * PAGES_IN_2M
    assert await act(vm, "balloon", "inflate", pages=pages) == pages
    assert await free() < before - pages * 3 // 4
    assert (await counts(vm, "balloon"))["ballooned_pages"] == pages
    assert await act(vm, "balloon", "deflate", pages=pages // 2) == pages // 2
    assert await act(vm, "balloon", "deflate", pages=pages) == pages // 2
    assert await free() > before - pages // 4


async def test_a_guest_gives_what_it_can_spare_and_no_more(vm: LinuxVm) -> None:
    given = await act(vm, "balloon", "inflate", pages=1 << 18)
    assert isinstance(given, int)
    assert 0 < given < 1 << 16
    assert await act(vm, "balloon", "deflate", pages=given) == given


async def test_the_guest_reports_its_memory(vm: LinuxVm) -> None:
    await vm.run("echo 0 >/sys/module/hv_balloon/parameters/pressure_report_delay")
    while not (reported := await counts(vm, "balloon"))["status_reports"]:
        await vm.run("sleep 0.2")
    assert 0 < reported["available_pages"] < 1 << 16


def kvp(operation: int, index: int = 0, key: str = "", value: str = "", error: int | None = None) -> bytes:
    """``struct hv_kvp_msg`` as a daemon writes it: in UTF-8."""
    head = struct.pack("<BBH", operation, 0, 0) if error is None else struct.pack("<I", error)
    data = struct.pack("<III", 1, len(key) + 1, len(value) + 1) + key.encode().ljust(MAX_KEY_SIZE, b"\0")
    return (head + struct.pack("<I", index) + data + value.encode()).ljust(KVP.size, b"\0")


async def test_the_host_reads_what_the_guest_says_of_itself(vm: LinuxVm) -> None:
    pairs = {"FullyQualifiedDomainName": "guest.example", "OSName": "Débian"}
    answers = [kvp(0, index, *pair, error=0) for index, pair in enumerate(pairs.items())]
    await play(vm, KVP, [*answers, kvp(0, error=IcStatus.CONTINUE)])
    while (await counts(vm, "kvp"))["negotiated"] == 0:
        await vm.run("sleep 0.1")
    outcome = await act(vm, "kvp", "enumerate", pool=int(KvpPool.AUTO))
    assert outcome == {"status": IcStatus.OK, "pairs": pairs}
    question = await vm.run("od -An -tu1 -N 8 /tmp/hv_kvp.question.2")
    assert [int(word) for word in question.split()] == [KvpOperation.ENUMERATE, KvpPool.AUTO, 0, 0, 1, 0, 0, 0]


async def test_a_backup_without_a_daemon_fails_and_with_one_succeeds(vm: LinuxVm) -> None:
    assert await act(vm, "vss", "backup") == IcStatus.FAIL
    success = bytes(VSS.size)
    await play(vm, VSS, [success] * 3)
    assert await act(vm, "vss", "backup") == IcStatus.OK
    asked = [int(await vm.run(f"od -An -tu1 -N 1 /tmp/hv_vss.question.{number}")) for number in (1, 2, 3)]
    assert asked == [VssOperation.HOT_BACKUP, VssOperation.FREEZE, VssOperation.THAW]
