"""A file that is no driver, or no device, is refused with one line before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.vmbus.device import HvDriver
from lab.outside.devices import load_devices
from lab.outside.drivers import load_drivers
from protocol.errors import OperatorError
from tests.outside.authors import ECHO, ECHO_DEVICE, EXAMPLES, at, changed


def test_every_example_is_a_driver_or_a_device() -> None:
    for path in sorted(map(str, EXAMPLES.glob("*.py"))):
        assert load_devices([path], []) if path.endswith("_device.py") else load_drivers([path])


def test_an_example_of_a_driver_is_short() -> None:
    code = [line for line in Path(ECHO).read_text().splitlines() if line.strip()]
    assert len(code) < 60


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "echo_protocol.py").write_text("from uuid import UUID\nGUID = UUID(int=1)\n")
    driver = changed(tmp_path, ECHO, "(ECHO_GUID,)", "(GUID,)")
    Path(driver).write_text("from echo_protocol import GUID\n" + Path(driver).read_text())
    (loaded,) = load_drivers([driver])
    assert loaded.id_table[0].int == 1


def refused(*paths: str) -> str:
    with pytest.raises(OperatorError) as error:
        load_drivers(paths)
    line = str(error.value)
    assert "\n" not in line
    return line


def refused_device(*paths: str, taken: tuple[str, ...] = ()) -> str:
    with pytest.raises(OperatorError) as error:
        load_devices(paths, taken)
    return str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "where", "why"),
    [
        ("async def remove", "async deff remove", "async deff", "invalid syntax"),
        ("ECHO_GUID = UUID(", "ECHO_GUID = UUIDD(", "UUIDD(", "NameError: name 'UUIDD' is not defined"),
        ("ECHO_GUID = UUID(", "raise SystemExit(", "raise SystemExit(", "SystemExit: 5f2b0c8e"),
        ("(ECHO_GUID,)", "()", "class Echo(HvDriver)", "class Echo has no id_table"),
        ("(ECHO_GUID,)", '("5f2b0c8e",)', "class Echo(HvDriver)", "class Echo has no id_table"),
        ("(ECHO_GUID,)", "ECHO_GUID", "class Echo(HvDriver)", "class Echo has no id_table"),
        ('    name = "echo"', "", "class Echo(HvDriver)", "class Echo has no name"),
        ('    name = "echo"', '    name = "e/o"', "class Echo(HvDriver)", "'e/o' is no name: use up to 32 letters"),
        (
            '    name = "echo"',
            '    name = "e"; __init__ = lambda self: None',
            "__init__ =",
            "__init__ is called with (self, core",
        ),
        ("async def remove", "async def removed", "class Echo(HvDriver)", "class Echo lacks remove"),
        ("def onchannel", "async def onchannel", "async def onchannel", "onchannel_callback cannot wait in interrupt"),
        ("remove(self, device: VmbusDevice)", "remove(self)", "def remove", "remove is called with (self, device"),
    ],
)
def test_a_mistake_in_a_driver_is_named_with_its_line(tmp_path: Path, old: str, new: str, where: str, why: str) -> None:
    path = changed(tmp_path, ECHO, old, new)
    assert refused(path).startswith(f"{at(path, where)}: {why}")


def test_what_is_awaited_is_an_async_def(tmp_path: Path) -> None:
    path = changed(tmp_path, ECHO, "await device.channel.close()", "device.channel.close()")
    path = changed(tmp_path, path, "async def remove", "def remove")
    assert refused(path) == f"{at(path, 'def remove')}: remove runs in process context: make it an async def"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("def receive", "def received", "class EchoDevice lacks receive"),
        ('    name = "echo"', "", "class EchoDevice has no name"),
        ('    name = "echo"', '    name = "an echo"', "'an echo' is no name: use up to 32 letters"),
        ("class_id = ECHO_GUID", "", "class EchoDevice has no class_id"),
    ],
)
def test_a_mistake_in_a_device_is_named_with_its_line(tmp_path: Path, old: str, new: str, why: str) -> None:
    path = changed(tmp_path, ECHO_DEVICE, old, new)
    assert refused_device(path).startswith(f"{at(path, 'class EchoDevice')}: {why}")


def test_a_device_never_waits(tmp_path: Path) -> None:
    path = changed(tmp_path, ECHO_DEVICE, "def receive", "async def receive")
    assert refused_device(path).startswith(f"{at(path, 'async def receive')}: receive cannot wait")


def test_two_drivers_of_one_class_of_devices_are_a_mistake(tmp_path: Path) -> None:
    other = changed(tmp_path, ECHO, "class Echo(", "class Other(")
    line = refused(ECHO, other)
    assert line.startswith(f"{at(other, 'class Other')}: 5f2b0c8e-7d4a-4b1e-9a36-0c6d2e8f4b11 is that of the driver at")
    assert line.endswith(at(ECHO, "class Echo("))


def test_two_devices_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    other = changed(tmp_path, ECHO_DEVICE, "class EchoDevice", "class Other")
    assert refused_device(ECHO_DEVICE, other).startswith(
        f"{at(other, 'class Other')}: 'echo' is the name of the device"
    )
    assert "is the name of a device of the VM" in refused_device(ECHO_DEVICE, taken=("echo",))


def test_a_file_that_is_not_there_and_one_without_a_driver(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.py")
    assert refused(missing) == f"{missing}: No such file or directory"
    assert refused(ECHO_DEVICE) == f"{ECHO_DEVICE}: it defines no class derived from HvDriver"
    assert refused_device(ECHO) == f"{ECHO}: it defines no class derived from PacketDevice"
    (tmp_path / "binary.py").write_bytes(b"\0")
    assert refused(str(tmp_path / "binary.py")).startswith(str(tmp_path / "binary.py"))


def test_the_base_class_itself_is_abstract() -> None:
    assert HvDriver.__abstractmethods__ == {"probe", "remove", "onchannel_callback"}
