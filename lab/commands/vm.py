"""``vm``: the VMs that come with the laboratory, and what a VM file may say."""

from __future__ import annotations

import click

from lab import presets
from lab.vm_keys import lines
from protocol.errors import OperatorError


@click.command()
@click.argument("preset", required=False)
@click.option("--keys", is_flag=True, help="Every key of a VM file: what is allowed; what it is if nothing is said.")
def command(preset: str | None, keys: bool) -> None:
    """Print a VM file to begin with.

    `vm letter >my.toml`, then `run --vm my.toml`.

    Without PRESET, what there is.
    """
    if keys:
        click.echo("\n".join(lines()), nl=False)
    elif preset is None:
        for name in presets.names():
            first = presets.text(name).partition("\n")[0].removeprefix("# ")
            click.echo(f"{name:10} {first}")
    elif preset not in presets.names():
        raise OperatorError(f"there is no preset '{preset}'; there are {', '.join(presets.names())}")
    else:
        click.echo(presets.text(preset), nl=False)
