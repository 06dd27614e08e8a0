"""One boot of a real kernel, shared by many checks; and boots of their own for what ends a guest."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lab.linux.parts import linux_spec
from lab.linux.vm import MEMORY_MB, LinuxVm
from lab.spec import DiskSpec, VmSpec
from protocol.errors import OperatorError

IMAGE_BYTES = 16 << 20
Boot = Callable[..., LinuxVm]


@pytest.fixture(scope="session", autouse=True)
def short_runtime() -> Iterator[Path]:
    """A runtime directory of our own; short, because the path of a Unix socket is."""
    path = Path(tempfile.mkdtemp(prefix="vl", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(path))
        yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def template() -> VmSpec:
    """Two processors and no disk. What is missing for it is a failure in CI, and a reason to skip elsewhere."""
    try:
        return VmSpec(name="linux", vcpus=2, memory_mb=MEMORY_MB, linux=linux_spec(print))
    except OperatorError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def boot(template: VmSpec) -> Boot:
    """``async with boot(vcpus=1) as vm``: a guest of its own."""

    def make(**changes: Any) -> LinuxVm:
        return LinuxVm(replace(template, name="own", **changes))

    return make


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two disks with something on them: the guest's sda, which it may only read, and sdb, which it may write."""
    directory = tmp_path_factory.mktemp("images")
    paths = directory / "sda.img", directory / "sdb.img"
    for path in paths:
        path.write_bytes(os.urandom(IMAGE_BYTES))
    return paths


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def linux(
    template: VmSpec, images: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LinuxVm]:
    """The guest that most tests share. Each leaves it as it found it."""
    disks = [DiskSpec(str(images[0])), DiskSpec(str(images[1]), writable=True)]
    trace = str(tmp_path_factory.mktemp("trace") / "trace")
    async with LinuxVm(replace(template, disks=disks, trace=trace)) as vm:
        yield vm
