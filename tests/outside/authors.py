"""What authors of drivers and devices do: take an example and change it."""

from __future__ import annotations

from pathlib import Path

from lab.spec import VmSpec

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ECHO, ECHO_DEVICE = str(EXAMPLES / "echo.py"), str(EXAMPLES / "echo_device.py")


def changed(directory: Path, example: str, old: str, new: str) -> str:
    """A copy of an example with ``old`` replaced by ``new``; its path."""
    text = Path(example).read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {example}"
    path = directory / f"my_{Path(example).name}"
    path.write_text(text.replace(old, new))
    return str(path)


def at(path: str, text: str) -> str:
    """``file:line`` of the line with ``text``."""
    lines = Path(path).read_text().splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if text in line)
    return f"{path}:{number}"


def echo_vm(
    name: str = "outside", policy: str = "rfc", driver: str = ECHO, device: str = ECHO_DEVICE, seed: int = 0
) -> VmSpec:
    """Two CPUs with the echo, or what has become of it."""
    return VmSpec(name, vcpus=2, policy=policy, seed=seed, memory_mb=16, drivers=[driver], device_files=[device])
