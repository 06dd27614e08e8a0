"""``ls``: what files a running VM has."""

from __future__ import annotations

import stat

import click

from lab.attached import AttachedVm
from lab.failure import VmFailure
from lab.files import Files, in_words
from protocol.errors import ExitCode


@click.command()
@click.argument("path", default="/")
@click.option("-l", "--long", is_flag=True, help="With permissions, and where links lead.")
@click.option("--name", help="Which VM, if several are running.")
def command(path: str, long: bool, name: str | None) -> None:
    """List a directory of the running VM, below /proc or /sys."""
    files = AttachedVm(name).files
    try:
        if stat.S_ISREG(files.mode(path)):
            click.echo(_long(files, path, path) if long else path)
            return
        for entry in sorted(files.list(path), key=_numbers_by_value):
            click.echo(_long(files, f"{path}/{entry}", entry) if long else entry)
    except OSError as error:
        raise VmFailure(ExitCode.CHECK_FAILED, f"ls: {path}: {in_words(error)}") from None


def _numbers_by_value(name: str) -> tuple[int, str]:
    return (int(name) if name.isdigit() else -1, name)


def _long(files: Files, path: str, name: str) -> str:
    mode = files.mode(path)
    target = f" -> {files.link(path)}" if stat.S_ISLNK(mode) else ""
    return f"{stat.filemode(mode)} {name}{target}"
