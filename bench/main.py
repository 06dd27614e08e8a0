"""``./launch.sh bench``: measure, judge, print, write. Only ratios taken in one run are judged, never microseconds."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import rich.box
import rich.console
import rich.progress
from rich.table import Table

from bench import dispatch, ring_packets, round_trips
from bench.figures import Figure, Verdict, ratios
from bench.rounds import Progress
from protocol.errors import ExitCode

TRIPS = 2000
"""Round trips on each path in each round."""
RING_GATES = {64: (2.5, 4.5), 1500: (2.7, 5.5), 4096: (4.0, 9.0)}
"""Payload in bytes: how many times as many packets as messages, gate and goal."""
RING_RUNS = 4
RING_PACKETS = {64: 40_000, 1500: 20_000, 4096: 12_000}
"""In each run, by payload: more than two million in nine rounds."""
TABLE_WIDTH = 118
FLAGS = 64_000
"""Event flags dispatched in each round, for each number of pending ones and each design."""
MAPPED = (21, 1000)
"""Channels that are open while eight flags are dispatched."""
OfVms = Callable[[int, Progress], list[Figure]]
"""Measures whole VMs, in so many rounds."""
STYLES = {Verdict.GOAL: "green", Verdict.PASSED: "", Verdict.FAILED: "bold red", Verdict.NONE: "dim"}


def trip_figures(rounds: int, trips: int, progress: Progress) -> list[Figure]:
    """What the host's signal and a channel's round trip cost on top of the socket, and the IRQ layer in the whole."""
    trip = round_trips.measure(rounds, trips, progress)
    return [
        Figure("round trip, raw pyzmq ROUTER-DEALER", trip.raw, unit="us"),
        Figure("round trip, signal", trip.signal, unit="us"),
        Figure("round trip, channel, rfc", trip.rfc, unit="us"),
        Figure("signal / raw", ratios(trip.signal, trip.raw), 1.8, 1.3),
        Figure("channel, rfc / raw", ratios(trip.rfc, trip.raw), 2.6, 1.7),
        Figure("channel, rfc, in a tasklet / raw", ratios(trip.tasklet, trip.raw)),
        Figure("channel, rfc / legacy", ratios(trip.rfc, trip.legacy), 1.15, 1.02),
    ]


def dispatch_figures(rounds: int, flags: int, progress: Progress) -> list[Figure]:
    """The IRQ layer by itself."""
    measured = dispatch.measure(rounds, flags, progress)
    most = max(measured)
    mapped = dispatch.measure_mapped(rounds, flags, progress, MAPPED)
    figures = [Figure(f"dispatch of a flag, rfc, {most} pending", measured[most].rfc, unit="ns")]
    for pending, run in measured.items():
        limits = (2.2, 1.5) if pending == dispatch.CHANNELS else (None, None)
        figures.append(Figure(f"dispatch, rfc / legacy, {pending} pending", ratios(run.rfc, run.legacy), *limits))
    few, many = mapped
    over = ratios(mapped[many], mapped[few])
    figures.append(Figure(f"dispatch, rfc, 8 pending, {many:,} channels mapped / {few}", over, 1.6, 1.2))
    return figures


def ring_figures(rounds: int, packets: dict[int, int], progress: Progress) -> list[Figure]:
    """Packets through a ring against messages through a socket; ``packets`` of a run, by payload.

    As with the round trips, the fastest of a few runs in turns is what counts of each side in a round.
    """
    rates: dict[int, list[float]] = {size: [] for size in packets}
    over_messages: dict[int, list[float]] = {size: [] for size in packets}
    doorbells: dict[int, list[float]] = {size: [] for size in packets}
    total = torn = lost = 0
    for number in range(rounds):
        progress("rings", number, rounds)
        for size, count in packets.items():
            run = ring_packets.measure(RING_RUNS, count, (size,))
            total, torn, lost = total + run.packets, torn + run.torn, lost + run.lost
            rates[size].append(max(run.ring_rate[size]) / 1000)
            messages = ratios(run.ring_rate[size], run.ratios[size])
            over_messages[size].append(max(run.ring_rate[size]) / max(messages))
            doorbells[size].append(max(run.doorbells_per_packet[size]))
    return [
        *(Figure(f"ring packets, {size} B", values, unit="k/s") for size, values in rates.items()),
        *(
            Figure(f"ring / ROUTER-DEALER with msgpack, {size} B", values, *RING_GATES[size], larger=True)
            for size, values in over_messages.items()
        ),
        *(Figure(f"doorbells per packet, {size} B", values, 0.05, 0.005) for size, values in doorbells.items()),
        Figure(f"torn, of {total:,} packets", [torn], 0, 0),
        Figure(f"lost, of {total:,} packets", [lost], 0, 0),
    ]


def bench(rounds: int, json_path: str | None, of_vms: OfVms) -> int:
    """Measure everything, ``of_vms`` included; the exit code is 1 if a gate fails."""
    columns = (rich.progress.TextColumn("{task.description}"), rich.progress.BarColumn(bar_width=30))
    # No refreshing thread: a process with threads must not fork.
    bar = rich.progress.Progress(
        *columns,
        console=rich.console.Console(stderr=True),
        transient=True,
        auto_refresh=False,
        disable=not sys.stderr.isatty(),
    )
    task = bar.add_task("starting", total=None)

    def progress(what: str, done: int, total: int) -> None:
        bar.update(task, description=f"measuring {what}", completed=done, total=total, refresh=True)

    with bar:
        figures = trip_figures(rounds, TRIPS, progress)
        figures += dispatch_figures(rounds, FLAGS, progress)
        figures += ring_figures(rounds, RING_PACKETS, progress)
        # Last: with it come threads, and a process with threads must not fork.
        figures += of_vms(rounds, progress)
    out = rich.console.Console(highlight=False)
    out.width = max(out.width, TABLE_WIDTH)
    out.print(table(figures))
    load, python = os.getloadavg()[0], platform.python_version()
    out.print(f"{rounds} rounds in turns on {os.cpu_count()} processors, load {load:.1f}, Python {python}")
    if json_path is not None:
        Path(json_path).write_text(json.dumps(document(rounds, figures), indent=1) + "\n")
    failed = [figure.name for figure in figures if figure.verdict is Verdict.FAILED]
    for name in failed:
        print(f"vmbus-lab: gate failed: {name}", file=sys.stderr)
    return ExitCode.CHECK_FAILED if failed else ExitCode.SUCCESS


def table(figures: list[Figure]) -> Table:
    """The figures as one looks at them."""
    out = Table(box=rich.box.SIMPLE_HEAD)
    out.add_column("figure", no_wrap=True)
    for title in ("median", "rounds", "gate", "goal"):
        out.add_column(title, justify="right", no_wrap=True)
    out.add_column("verdict", no_wrap=True)
    for figure in figures:
        sign = ">=" if figure.larger else "<="
        middle = f"{short(figure.median)} {figure.unit}".rstrip()
        spread = " .. ".join(map(short, figure.spread))
        limits = ["" if limit is None else f"{sign} {limit:g}" for limit in (figure.gate, figure.goal)]
        out.add_row(figure.name, middle, spread, *limits, figure.verdict.value, style=STYLES[figure.verdict])
    return out


def short(value: float) -> str:
    """Three digits or more, no exponents."""
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.5f}" if value < 0.1 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def document(rounds: int, figures: list[Figure]) -> dict[str, object]:
    """What is written to the file."""
    return {
        "rounds": rounds,
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "load": os.getloadavg(),
        },
        "figures": [figure.plain() for figure in figures],
    }
