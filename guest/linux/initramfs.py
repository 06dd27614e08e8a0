"""The guest's first and only root file system: busybox, modules, and two scripts.

/init loads the modules, tells what it found on the console, and then serves commands on the second serial port, so the
console stays what the kernel and a person say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from guest.linux import cpio

MODULES: Final = (
    "hv_vmbus",
    "hv_utils",
    "scsi_common",
    "scsi_mod",
    "scsi_transport_fc",
    "sd_mod",
    "hv_storvsc",
    "hv_netvsc",
    "evdev",
    "hyperv_keyboard",
    "hid",
    "hid_hyperv",
    "hyperv_fb",
)
"""In the order in which they can be inserted; what a kernel has built in, or never had, is left out."""
ON_DEMAND: Final = ("hv_balloon",)
"""For whoever has a use for it: this one cannot be removed again (it has no exit), and would keep hv_vmbus there."""

DIRECTORIES: Final = ("bin", "dev", "etc", "lib", "lib/modules", "proc", "sbin", "sys", "tmp")


def initramfs(busybox: bytes, modules: Mapping[str, bytes], scripts: Mapping[str, bytes]) -> bytes:
    """The archive. ``modules`` are .ko files by name, ``scripts`` executables by absolute path."""
    loaded = [name for name in MODULES if name in modules]
    stored = [*loaded, *(name for name in ON_DEMAND if name in modules)]
    return cpio.archive(
        [
            *map(cpio.directory, DIRECTORIES),
            cpio.character_device("dev/console", 5, 1),
            cpio.file("bin/busybox", busybox, executable=True),
            cpio.symlink("bin/sh", "busybox"),
            *(cpio.file(f"lib/modules/{name}.ko", modules[name]) for name in stored),
            cpio.file("etc/modules", "".join(f"{name}\n" for name in loaded).encode()),
            *(cpio.file(path.lstrip("/"), data, executable=True) for path, data in scripts.items()),
        ]
    )


def module_name(path: str) -> str:
    """``.../hv_utils.ko`` is hv_utils; so is ``hv-utils.ko.xz``."""
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def wanted(paths: Iterable[str]) -> dict[str, str]:
    """Of the modules of a kernel, those that the guest needs: path by name."""
    return {name: path for path in paths if (name := module_name(path)) in MODULES + ON_DEMAND}
