"""``ps``: the VMs that run."""

from __future__ import annotations

import time

import click

from lab import rundir


@click.command()
def command() -> None:
    """The VMs of this user that run now."""
    for vm in rundir.running():
        click.echo(
            f"{vm.name:16} {vm.vcpus:3} vCPUs  policy {vm.policy:8} up {time.time() - vm.started:6.0f} s  "
            f"supervisor {vm.supervisor}  host {vm.pids['host']}"
        )
