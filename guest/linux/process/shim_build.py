"""Builds the shim at first use: gcc and objcopy, 64 KiB of firmware into the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from guest.linux import layout
from protocol.errors import OperatorError

SOURCES: Final = Path(__file__).parent.parent / "shim"
COMPILER: Final = "gcc"
FLAGS: Final = [
    *("-m64", "-std=gnu11", "-Os", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib", "-static"),
    *("-fno-pic", "-no-pie", "-mno-red-zone", "-mgeneral-regs-only", "-fno-stack-protector", "-fcf-protection=none"),
    *("-fno-asynchronous-unwind-tables", "-Wl,--build-id=none"),
]


def build_shim(cache: Path) -> Path:
    """The firmware's path. Raises OperatorError if there is no compiler, or if it does not like the source."""
    files = [SOURCES / name for name in ("entry.S", "shim.c", "shim.ld")]
    defines = [f"-D{name}={value:#x}" for name, value in layout.defines().items()]
    command = [COMPILER, *FLAGS, *defines, "-T", str(files[2]), str(files[0]), str(files[1])]
    key = hashlib.sha256("\0".join(command).encode())
    for file in files:
        key.update(file.read_bytes())
    rom = cache / f"shim-{key.hexdigest()[:16]}.rom"
    if rom.exists():
        return rom
    for tool in (COMPILER, "objcopy"):
        if shutil.which(tool) is None:
            raise OperatorError(f"the shim is built at first use, and '{tool}' is missing: install gcc and binutils")
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        elf, image = Path(directory, "shim.elf"), Path(directory, "shim.rom")
        for step in ([*command, "-o", str(elf)], ["objcopy", "-O", "binary", "--gap-fill=0xff", str(elf), str(image)]):
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode:
                raise OperatorError(f"the shim cannot be built by {step[0]}: {done.stderr.strip()}")
        if image.stat().st_size != layout.ROM_SIZE:
            raise OperatorError(f"the shim has {image.stat().st_size} bytes, not {layout.ROM_SIZE}: use GNU binutils")
        os.replace(image, rom)
    return rom
