"""MODIFYCHANNEL: moving the interrupts of a channel, by version and by kind of host."""

from dataclasses import replace

import pytest

from host.vmbus.options import UNTIL_RELEASED, HostOptions, ModifyAnswer, Step
from protocol.ids import Relid, VpIndex
from protocol.wire.messages import (
    NO_INTERRUPTS,
    CloseChannel,
    ModifyChannel,
    ModifyChannelResponse,
    NtStatus,
    RelidReleased,
)
from protocol.wire.versions import Version
from tests.host_vmbus.conftest import FakeDevice, Vm

MOVED = ModifyChannelResponse(Relid(1), NtStatus.SUCCESS)
REFUSED = ModifyChannelResponse(Relid(1), NtStatus.UNSUCCESSFUL)
SLOW = HostOptions(delay={Step.MODIFY: UNTIL_RELEASED})


def open_channel(
    options: HostOptions | None = None, version: Version = Version.V5_3, vp: int = 1
) -> tuple[Vm, FakeDevice]:
    """A VM whose channel 1 is open towards ``vp``."""
    vm, device = Vm(options), FakeDevice()
    vm.server.offer(device)
    vm.connect(version)
    vm.open(1, vp=vp)
    vm.heard()
    return vm, device


def move(vm: Vm, vp: int, relid: int = 1) -> None:
    vm.send(ModifyChannel(Relid(relid), VpIndex(vp)))


def target(vm: Vm) -> VpIndex | None:
    return vm.server.snapshot()[0].target_vp


def test_from_5_3_a_move_is_answered_and_later_signals_go_to_the_new_vp() -> None:
    vm, device = open_channel()
    device.signal()
    move(vm, 3)
    device.signal()
    assert vm.heard() == [MOVED]
    assert vm.hypervisor.signals == [(1, 2, 1), (3, 2, 1)]


@pytest.mark.parametrize("version", [Version.WIN10_RS3, Version.V5_2])
def test_from_4_1_to_5_2_a_move_has_no_answer(version: Version) -> None:
    vm, device = open_channel(version=version)
    move(vm, 3)
    device.signal()
    assert vm.heard() == []
    assert vm.hypervisor.signals == [(3, 2, 1)]


def test_below_4_1_there_is_no_such_message() -> None:
    vm, _ = open_channel(version=Version.WIN10)
    move(vm, 3)
    assert target(vm) == 1
    assert vm.complained() == ["MODIFYCHANNEL does not exist in version 4.0 as negotiated"]


def test_the_answer_is_behind_the_signals_to_the_old_vp() -> None:
    vm, device = open_channel()
    device.signal()
    move(vm, 3)
    assert [sent.after for sent in vm.heard_envelopes()] == [frozenset({1})]


def test_the_answer_waits_for_nobody_if_nothing_was_signalled() -> None:
    vm, _ = open_channel()
    move(vm, 3)
    assert [sent.after for sent in vm.heard_envelopes()] == [frozenset()]


def test_a_second_move_waits_for_the_second_vp_only() -> None:
    vm, device = open_channel()
    device.signal()
    move(vm, 2)
    device.signal()
    move(vm, 3)
    assert [sent.after for sent in vm.heard_envelopes()] == [frozenset({1}), frozenset({2})]


def test_moving_to_where_it_is_waits_for_nobody() -> None:
    vm, device = open_channel()
    device.signal()
    move(vm, 1)
    assert [(sent.message, sent.after) for sent in vm.heard_envelopes()] == [(MOVED, frozenset())]


def test_below_5_3_old_vps_are_remembered_until_a_rescind() -> None:
    vm, device = Vm(), FakeDevice()
    handle = vm.server.offer(device)
    vm.connect(Version.V5_2)
    vm.open(1, vp=1)
    device.signal()
    move(vm, 2)
    device.signal()
    vm.heard()
    handle.rescind()
    assert [sent.after for sent in vm.heard_envelopes()] == [frozenset({1, 2})]


@pytest.mark.parametrize("vp", [4, NO_INTERRUPTS])
def test_a_vp_that_does_not_exist_is_refused(vp: int) -> None:
    vm, _ = open_channel()
    move(vm, vp)
    assert vm.heard() == [REFUSED]
    assert target(vm) == 1


def test_a_channel_without_interrupts_cannot_be_moved() -> None:
    vm, _ = open_channel(vp=NO_INTERRUPTS)
    move(vm, 2)
    assert vm.heard() == [REFUSED]
    assert target(vm) is None


@pytest.mark.parametrize("answers", [True, False])
def test_a_channel_that_is_not_open_is_refused_or_ignored_by_host_option(answers: bool) -> None:
    vm, _ = open_channel(HostOptions(answer_modify_of_closed=answers))
    vm.send(CloseChannel(Relid(1)))
    move(vm, 2)
    assert vm.heard() == [REFUSED] * answers
    vm.send(RelidReleased(Relid(1)))
    move(vm, 2)
    assert vm.heard() == [REFUSED] * answers
    assert len(vm.complained()) == 2


def test_below_5_3_nothing_of_the_sort_is_answered() -> None:
    vm, _ = open_channel(version=Version.V5_2)
    move(vm, 99)
    vm.send(CloseChannel(Relid(1)))
    move(vm, 2)
    move(vm, 2, relid=9)
    assert vm.heard() == []
    assert len(vm.complained()) == 3


def test_a_host_may_refuse_with_a_status_of_its_choice() -> None:
    vm, _ = open_channel(HostOptions(modify=ModifyAnswer.REFUSE, modify_status=0xC00000BB))
    move(vm, 2)
    assert vm.heard() == [ModifyChannelResponse(Relid(1), 0xC00000BB)]
    assert target(vm) == 1


def test_below_5_3_a_refusal_is_silent() -> None:
    vm, _ = open_channel(HostOptions(modify=ModifyAnswer.REFUSE), Version.V5_2)
    move(vm, 2)
    assert vm.heard() == []
    assert target(vm) == 1


def test_a_host_may_lose_the_request() -> None:
    vm, _ = open_channel(HostOptions(modify=ModifyAnswer.IGNORE))
    move(vm, 2)
    assert vm.heard() == []
    assert target(vm) == 1
    vm.server.options = replace(vm.server.options, modify=ModifyAnswer.ANSWER)
    move(vm, 3)
    assert vm.heard() == [MOVED]
    assert vm.complained() == []


def test_a_slow_host_interrupts_the_old_vp_until_it_gets_round_to_it() -> None:
    vm, device = open_channel(SLOW)
    move(vm, 3)
    device.signal()
    assert vm.heard() == []
    assert vm.server.release(Step.MODIFY) == 1
    device.signal()
    (sent,) = vm.heard_envelopes()
    assert (sent.message, sent.after) == (MOVED, frozenset({1}))
    assert vm.hypervisor.signals == [(1, 2, 1), (3, 2, 1)]


def test_from_5_3_a_request_before_the_answer_to_the_last_is_ignored() -> None:
    vm, _ = open_channel(SLOW)
    move(vm, 2)
    move(vm, 3)
    assert vm.complained() == ["MODIFY in state MOVING: a MODIFYCHANNEL is in progress"]
    vm.server.release()
    assert vm.heard() == [MOVED]
    assert target(vm) == 2


def test_below_5_3_the_latest_request_counts() -> None:
    vm, _ = open_channel(SLOW, Version.V5_2)
    for vp in (2, 0, 3):
        move(vm, vp)
    assert vm.server.release() == 1
    assert target(vm) == 2
    assert vm.server.release() == 1
    assert target(vm) == 3
    assert vm.server.release() == 0
    assert vm.complained() == []


def test_another_host_works_through_all_of_them_and_answers_each() -> None:
    vm, _ = open_channel(replace(SLOW, queue_overlapping_modify=True))
    for vp in (2, 0, 3):
        move(vm, vp)
    seen = []
    while vm.server.release():
        seen.append((target(vm), vm.heard()))
    assert seen == [(2, [MOVED]), (0, [MOVED]), (3, [MOVED])]


@pytest.mark.parametrize("answers", [False, True])
def test_a_move_overtaken_by_close_is_answered_by_host_option_only(answers: bool) -> None:
    vm, _ = open_channel(replace(SLOW, answer_modify_overtaken=answers))
    move(vm, 2)
    vm.send(CloseChannel(Relid(1)))
    assert vm.heard() == [REFUSED] * answers
    vm.open(1, vp=3)
    vm.heard()
    vm.server.release()
    assert vm.heard() == []
    assert target(vm) == 3


def test_a_reset_guest_gets_no_answer_to_what_it_asked_in_its_former_life() -> None:
    vm, _ = open_channel(replace(SLOW, answer_modify_overtaken=True))
    move(vm, 2)
    vm.contact()
    vm.server.release()
    assert vm.names() == ["VERSION_RESPONSE"]
