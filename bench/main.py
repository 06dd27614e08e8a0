"""``./launch.sh bench``: measure, judge, print, write. Only ratios taken in one run are judged, never microseconds."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import rich.console
import rich.progress
from rich.table import Table

from bench import dispatch, ring_packets, round_trips
from bench.figures import Figure, Verdict, ratios
from bench.rounds import Progress
from protocol.errors import ExitCode

TRIPS = 2000
"""Round trips on each path in each round."""
RING_SIZES = (64, 1500, 4096)
RING_GATES = {64: (2.5, 4.5), 1500: (2.7, 5.5), 4096: (4.0, 9.0)}
RING_PACKETS = 1_000_000
"""Through rings, over all rounds and sizes."""
FLAGS = 64_000
"""Event flags dispatched in each round, for each number of pending ones and each design."""
COLOURS = {Verdict.GOAL: "green", Verdict.PASSED: "green", Verdict.FAILED: "bold red", Verdict.NONE: "dim"}


def trip_figures(rounds: int, trips: int, progress: Progress) -> list[Figure]:
    """What the host's signal and a channel's round trip cost on top of the socket, and the IRQ layer in the whole."""
    trip = round_trips.measure(rounds, trips, progress)
    return [
        Figure("raw pyzmq ROUTER-DEALER round trip, us", trip.raw),
        Figure("channel round trip, rfc, us", trip.channel_rfc),
        Figure("signal round trip / raw pyzmq", ratios(trip.signal, trip.raw), 1.8, 1.3),
        Figure("channel round trip, rfc / raw pyzmq", ratios(trip.channel_rfc, trip.raw), 2.6, 1.7),
        Figure("channel round trip, rfc / legacy", ratios(trip.channel_rfc, trip.channel_legacy), 1.15, 1.02),
    ]


def ring_figures(rounds: int, packets: int, progress: Progress) -> list[Figure]:
    """Packets through a ring against messages through a socket. ``packets`` are those of one round and size."""
    figures: list[Figure] = []
    lost = torn = total = 0
    for number, size in enumerate(RING_SIZES):
        progress(f"ring, {size} bytes", number, len(RING_SIZES))
        run = ring_packets.measure(rounds, packets, (size,))
        lost, torn, total = lost + run.lost, torn + run.torn, total + run.packets
        gate, goal = RING_GATES[size]
        figures += [
            Figure(f"ring packets/s, {size} B", run.ring_rate[size]),
            Figure(f"ring / ROUTER-DEALER + msgpack, {size} B", run.ratios[size], gate, goal, larger=True),
            Figure(f"doorbells per packet, {size} B", run.doorbells_per_packet[size], 0.05, 0.005),
        ]
    return [
        *figures,
        Figure(f"torn in {total} packets", [torn], 0, 0),
        Figure(f"lost in {total} packets", [lost], 0, 0),
    ]


def dispatch_figures(rounds: int, flags: int, progress: Progress) -> list[Figure]:
    """The IRQ layer by itself."""
    figures = []
    for pending, run in dispatch.measure(rounds, flags, progress).items():
        limits = (2.2, 1.5) if pending == dispatch.CHANNELS else (None, None)
        figures += [
            Figure(f"scan and dispatch, rfc, {pending} pending, ns each", run.rfc),
            Figure(f"scan and dispatch, rfc / legacy, {pending} pending", ratios(run.rfc, run.legacy), *limits),
        ]
    return figures


def bench(rounds: int, json_path: str | None) -> int:
    """Measure everything; the exit code is 1 if a gate fails."""
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
        figures += ring_figures(rounds, -(-RING_PACKETS // rounds // len(RING_SIZES)), progress)
    rich.console.Console(highlight=False).print(table(figures))
    if json_path is not None:
        Path(json_path).write_text(json.dumps(document(rounds, figures), indent=1) + "\n")
    failed = [figure.name for figure in figures if figure.verdict is Verdict.FAILED]
    for name in failed:
        print(f"vmbus-lab: gate failed: {name}", file=sys.stderr)
    return ExitCode.CHECK_FAILED if failed else ExitCode.SUCCESS


def table(figures: list[Figure]) -> Table:
    """The figures as one looks at them."""
    out = Table(caption="median of the rounds; a gate fails the build, a goal is near the limit of such a machine")
    out.add_column("figure")
    for title in ("median", "lowest", "highest", "gate", "goal"):
        out.add_column(title, justify="right")
    out.add_column("verdict")
    for figure in figures:
        low, high = figure.spread
        sign = ">=" if figure.larger else "<="
        limits = ["" if limit is None else f"{sign} {limit:g}" for limit in (figure.gate, figure.goal)]
        colour = COLOURS[figure.verdict]
        out.add_row(
            figure.name,
            *(short(value) for value in (figure.median, low, high)),
            *limits,
            figure.verdict.value,
            style=colour,
        )
    return out


def short(value: float) -> str:
    """Three significant digits or so."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


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
