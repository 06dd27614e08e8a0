"""Synthetic video of the guest, against the host's own and against older and slower ones."""

from __future__ import annotations

import errno

from guest.drivers.hyperv_fb.driver import DEFAULT, LOW_MMIO, FramebufferWords, HypervFb
from host.vsp.video.framebuffer import Framebuffer
from protocol.shell.memory import GuestRam
from protocol.wire import synthvid
from protocol.wire.synthvid import WIN8, WIN10, Resolution, VidMessage
from tests.guest_drivers.small import Host, begin, bench_of, plug


def test_the_host_learns_where_the_picture_is_and_how_large(ram: GuestRam) -> None:
    bench = bench_of(ram)
    device = Framebuffer(bench.clock, (Resolution(800, 600),))
    line = plug(bench, device, HypervFb, 1)
    begin(bench, line)
    bench.pass_time(0.3)
    assert device.vram_gpa == LOW_MMIO
    assert device.situation == synthvid.SituationUpdate.of(Resolution(800, 600))
    words = line.views[0].state(FramebufferWords)
    assert (words.width, words.height, words.synthvid_version) == (800, 600, WIN10)
    assert "hyperv_fb: Synthvid Version major 3, minor 5" in bench.buses[0].log


def test_there_are_six_interrupts_as_in_the_letter(ram: GuestRam) -> None:
    """Version, resolutions, place, picture; the host wants to be told of changes; the console sets the mode."""
    bench = bench_of(ram)
    device = Framebuffer(bench.clock)
    line = plug(bench, device, HypervFb)
    begin(bench, line)
    assert line.signals == 4
    bench.clock.advance(0.05)
    bench.settle()
    assert line.signals == 5
    bench.pass_time(2)
    assert line.signals == 6
    words = line.views[0].state(FramebufferWords)
    assert (words.update, words.feature_changes, words.situation_acks) == (1, 1, 2)
    assert not bench.clock.complaints


def test_an_older_host_gets_the_older_version_and_no_question_about_resolutions(ram: GuestRam) -> None:
    bench = bench_of(ram)
    host = Host()

    def answer(payload: bytes) -> bytes | None:
        header, body = synthvid.parse(payload)
        if header.type == VidMessage.VERSION_REQUEST:
            version = synthvid.VersionRequest.decode(body).version
            return synthvid.message(
                VidMessage.VERSION_RESPONSE, synthvid.VersionResponse(version, int(version == WIN8)).encode()
            )
        if header.type == VidMessage.VRAM_LOCATION:
            return synthvid.message(VidMessage.VRAM_LOCATION_ACK, synthvid.Ack(LOW_MMIO).encode())
        return None

    host.answer = answer
    line = plug(bench, host, HypervFb)
    assert begin(bench, line) == []
    bench.pass_time(0.3)
    words = line.views[0].state(FramebufferWords)
    assert (words.synthvid_version, Resolution(words.width, words.height)) == (WIN8, DEFAULT)
    types = [synthvid.parse(payload)[0].type for payload in host.heard]
    assert types == [1, 1, 3, 7, 8, 5, 5]


def test_a_host_that_accepts_no_version_has_no_screen(ram: GuestRam) -> None:
    bench = bench_of(ram)
    host = Host()
    host.answer = lambda payload: synthvid.message(VidMessage.VERSION_RESPONSE, synthvid.VersionResponse(0, 0).encode())
    (error,) = begin(bench, plug(bench, host, HypervFb))
    assert isinstance(error, OSError)
    assert error.errno == errno.ENODEV


def test_a_silent_host_is_given_up_after_ten_seconds(ram: GuestRam) -> None:
    bench = bench_of(ram)
    outcome = begin(bench, plug(bench, Host(), HypervFb))
    bench.pass_time(9.5)
    assert not outcome
    bench.pass_time(1)
    assert isinstance(outcome[0], OSError)
    assert outcome[0].errno == errno.ETIMEDOUT


def test_a_host_that_wants_to_be_told_of_changes_later_is_answered(ram: GuestRam) -> None:
    bench = bench_of(ram)
    device = Framebuffer(bench.clock, watched=False)
    line = plug(bench, device, HypervFb)
    begin(bench, line)
    bench.pass_time(1)
    device.watch()
    bench.settle()
    assert device.counts()["situations"] == 3
    assert device.counts()["pointers"] == 4
