"""Everything that a boot needs, fetched and built at first use: kernel, initramfs, firmware, QEMU."""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import sys
from pathlib import Path

from guest.linux.initramfs import initramfs, wanted
from guest.linux.process import shim_build
from lab.linux.packages import Packages, Say, cache_directory
from lab.spec import LinuxSpec
from protocol.errors import OperatorError

KERNEL_PACKAGE = "linux-image-cloud-amd64"
"""Debian's name for its newest kernel for clouds, which has the drivers of Hyper-V as modules."""
QEMU = "qemu-system-x86_64"
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio")
ROOTFS = Path(sys.modules[initramfs.__module__].__file__ or "").parent / "rootfs"
COMMAND_LINE = "console=ttyS0 panic=-1 quiet nokaslr cryptomgr.notests efi=noruntime"


def linux_spec(say: Say, package: str = KERNEL_PACKAGE) -> LinuxSpec:
    """What the bridge boots. Raises OperatorError: one line that says what is missing."""
    if os.uname().machine != "x86_64":
        raise OperatorError(f"the real guest runs on x86-64, and this machine is {os.uname().machine}")
    packages = Packages(cache_directory(), say)
    rom = shim_build.build_shim(packages.cache)
    kernel = packages.unpacked(package, lambda: [packages.dependency(package)])
    busybox = packages.unpacked("busybox-static", lambda: ["busybox-static"])
    qemu, environment = _qemu(packages)
    return LinuxSpec(
        kernel=str(_only(kernel, "boot/vmlinuz-*")),
        initramfs=str(_initramfs(packages.cache, kernel, _only(busybox, "**/bin/busybox"))),
        command_line=COMMAND_LINE,
        rom=str(rom),
        qemu=qemu,
        environment=environment,
    )


def _qemu(packages: Packages) -> tuple[str, dict[str, str]]:
    """The machine's own QEMU, or one that is unpacked beside its libraries."""
    installed = shutil.which(QEMU)
    if installed is not None:
        return installed, {}
    root = packages.unpacked("qemu-system-x86", lambda: packages.missing("qemu-system-x86"))
    libraries = ":".join(str(root / directory) for directory in LIBRARIES)
    return str(root / "usr/bin" / QEMU), {"LD_LIBRARY_PATH": libraries}


def _initramfs(cache: Path, kernel: Path, busybox: Path) -> Path:
    """The archive, made anew when anything that goes into it is another."""
    paths = wanted(str(path) for path in (kernel / "lib/modules").rglob("*.ko*"))
    modules = {name: _module(Path(path)) for name, path in paths.items()}
    scripts = {f"/{path.relative_to(ROOTFS)}": path.read_bytes() for path in ROOTFS.rglob("*") if path.is_file()}
    data = initramfs(busybox.read_bytes(), modules, scripts)
    path = cache / f"initramfs-{hashlib.sha256(data).hexdigest()[:16]}.cpio"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(data)
        part.rename(path)
    return path


def _module(path: Path) -> bytes:
    """Newer packages compress modules; the kernel here is to load them as they are."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _only(directory: Path, pattern: str) -> Path:
    found = list(directory.glob(pattern))
    if len(found) != 1:
        raise OperatorError(f"{directory} has {len(found)} files {pattern}: remove it, and it is fetched again")
    return found[0]
