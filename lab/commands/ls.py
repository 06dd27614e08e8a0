"""``ls``: what files a running VM has."""

from __future__ import annotations

import stat

import click

from lab.attached import AttachedVm
from lab.files import Files, looking_at


@click.command()
@click.argument("path", default="/")
@click.option("-l", "--long", is_flag=True, help="With permissions, and where links lead.")
@click.option("--name", help="Which VM, if several are running.")
def command(path: str, long: bool, name: str | None) -> None:
    """List a directory of the running VM, below /proc or /sys."""
    files = AttachedVm(name).files
    with looking_at(path):
        lines = _lines(files, path, long)
    click.echo("".join(f"{line}\n" for line in lines), nl=False)


def _lines(files: Files, path: str, long: bool) -> list[str]:
    if stat.S_ISREG(files.mode(path)):
        return [_long(files, path, path) if long else path]
    entries = sorted(files.list(path), key=_numbers_by_value)
    return [_long(files, f"{path}/{entry}", entry) if long else entry for entry in entries]


def _numbers_by_value(name: str) -> tuple[int, str]:
    return (int(name) if name.isdigit() else -1, name)


def _long(files: Files, path: str, name: str) -> str:
    mode = files.mode(path)
    target = f" -> {files.link(path)}" if stat.S_ISLNK(mode) else ""
    return f"{stat.filemode(mode)} {name}{target}"
