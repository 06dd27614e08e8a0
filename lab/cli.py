"""The command line: ``./launch.sh COMMAND``."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Final

import click

from lab.failure import VmFailure
from protocol.errors import ExitCode, OperatorError

COMMANDS: Final = (
    "run",
    "sim",
    "vm",
    "linux",
    "diff",
    "faults",
    "ps",
    "cat",
    "ls",
    "write",
    "top",
    "add",
    "remove",
    "act",
    "soak",
    "trace",
    "bench",
)
"""Modules of ``lab.commands``, in the order of ``--help``."""


class Commands(click.Group):
    """Loads a command when it is wanted. Without a command, or with options only, it is ``run``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "-h")):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"lab.commands.{name}").command
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """A laboratory for the interrupt path of Linux guests on Hyper-V.

    Without a command, `run`. Exit codes: 0 success, 1 a verification failed, 2 a mistake in the arguments, 3 a process
    of the VM died, 4 the supervisor died, 5 somebody broke the protocol, 6 an interrupt or an answer was lost,
    7 a device or a driver of yours failed, 70 a bug of the laboratory, 130 Ctrl-C, 143 SIGTERM.
    """


def main() -> None:
    """Entry point. Errors are one line; a traceback is a bug."""
    try:
        with cli.make_context("./launch.sh", sys.argv[1:]) as context:
            cli.invoke(context)
        print(end="", flush=True)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        _fail(ExitCode.OPERATOR, error.format_message())
    except click.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except OperatorError as error:
        _fail(error.exit_code, str(error))
    except VmFailure as failure:
        _fail(failure.code, str(failure))
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(ExitCode.SUCCESS)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _fail(ExitCode.OPERATOR, f"cannot write the output: {error.strerror}")
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _fail(code: ExitCode, line: str) -> None:
    print(f"vmbus-lab: {line}", file=sys.stderr)
    sys.exit(code)
