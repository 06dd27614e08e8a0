"""What Linux's own headers say about the wire: compile a generator against them and read what it prints.

    python header_layout.py VMBUS /usr/src/linux-headers-6.1.0-50-common > wire_layout_linux_6_1.json
    python header_layout.py NETVSC linux-source-6.1 > netvsc_layout_linux_6_1.json

needs gcc and nothing else. The headers are those of Debian's linux-headers-6.1.*-common: complete, but without the
generated ones that a module build adds. So only the judged files come from there; every other header that they include
is an empty file, and kernel_stubs.h says the few things that are then missing.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VARIABLE = "VMBUS_LAB_LINUX_HEADERS"

HYPERV = {
    "linux/hyperv.h": "include/linux/hyperv.h",
    "uapi/linux/hyperv.h": "include/uapi/linux/hyperv.h",
    "asm-generic/hyperv-tlfs.h": "include/asm-generic/hyperv-tlfs.h",
    "asm/hyperv-tlfs.h": "arch/x86/include/asm/hyperv-tlfs.h",
    "asm/irq_vectors.h": "arch/x86/include/asm/irq_vectors.h",
}


@dataclass(frozen=True)
class Judge:
    """A generator, where its output is committed, and the headers that it is compiled against, with their origin."""

    program: str
    committed: Path
    headers: dict[str, str]


VMBUS = Judge("gen_layout.c", HERE.parent / "data" / "wire_layout_linux_6_1.json", HYPERV)
NETVSC = Judge(
    "gen_netvsc.c",
    HERE.parent / "data" / "netvsc_layout_linux_6_1.json",
    HYPERV | {"linux/rndis.h": "include/linux/rndis.h", "hyperv_net.h": "drivers/net/hyperv/hyperv_net.h"},
)
"""The driver's own header: only whole kernel sources have it."""


def find_headers() -> Path | None:
    """The header tree: the one that the environment names, or one that Debian's package has installed."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    return next(iter(sorted(Path("/usr/src").glob("linux-headers-6.1*-common"))), None)


def measure(judge: Judge, headers: Path) -> dict[str, Any]:
    """``{"structs": {name: {"size", "fields": {name: [offset, size]}, "bits": {name: [first, width]}}}, ...}``."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "include"
        for name, origin in judge.headers.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(headers / origin, tree / name)
        for origin in judge.headers.values():
            for wanted in re.findall(r"#\s*include <([^>]+)>", (headers / origin).read_text()):
                if wanted not in judge.headers:
                    (tree / wanted).parent.mkdir(parents=True, exist_ok=True)
                    (tree / wanted).touch()
        program = Path(scratch) / "generator"
        # gnu89 and -w: the headers' inline functions call kernel functions that nobody declares here.
        options = ["-std=gnu89", "-w", "-include", str(HERE / "kernel_stubs.h"), "-I", str(tree), "-I", str(HERE)]
        subprocess.run(["gcc", *options, str(HERE / judge.program), "-o", str(program)], check=True)
        printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    layout: dict[str, Any] = json.loads(printed)
    return layout


def names_declared(headers: Path) -> set[str]:
    """The structures, unions and enumerations that linux/hyperv.h declares at top level, and its constants."""
    text = (headers / HYPERV["linux/hyperv.h"]).read_text()
    types = re.findall(r"^(?:struct|union|enum) (\w+) \{", text, re.MULTILINE)
    macros = re.findall(r"^#define\s+(\w+)[ \t]", text, re.MULTILINE)
    return {*types, *macros}


if __name__ == "__main__":
    measured = measure({"VMBUS": VMBUS, "NETVSC": NETVSC}[sys.argv[1]], Path(sys.argv[2]))
    sections = (
        f'"{section}": {{\n' + ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(rows.items())) + "\n}"
        for section, rows in measured.items()
    )
    print("{" + ",\n".join(sections) + "}")
