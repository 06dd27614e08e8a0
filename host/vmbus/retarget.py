"""MODIFYCHANNEL: which VP an open channel interrupts."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from host.vmbus.link import Link
from host.vmbus.machine import Machine
from host.vmbus.opened import OpenedChannel
from host.vmbus.options import ModifyAnswer, Step
from host.vmbus.tables.retarget import RETARGET, RetargetAction, RetargetEvent, RetargetState
from protocol.errors import PeerError
from protocol.ids import Relid, VpIndex
from protocol.wire.messages import ModifyChannel, ModifyChannelResponse, NtStatus
from protocol.wire.versions import Version


class BadTarget(PeerError):
    """MODIFYCHANNEL to a VP that does not exist.  Interrupts cannot be switched off this way either."""


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    target_vp: VpIndex


_VERDICT = {
    ModifyAnswer.ANSWER: RetargetEvent.MOVED,
    ModifyAnswer.REFUSE: RetargetEvent.TURNED_DOWN,
    ModifyAnswer.IGNORE: RetargetEvent.DROPPED,
}


class Retarget:
    """Moves one channel.  ``relid`` says under which number the guest knows the channel now, if it does."""

    def __init__(self, link: Link, relid: Callable[[], Relid | None], unfenced: set[VpIndex]) -> None:
        self._link = link
        self._relid = relid
        self._unfenced = unfenced
        self._opened: OpenedChannel | None = None
        self._latest = _Request(VpIndex(0))
        self._current: _Request | None = None
        self._waiting: deque[_Request] = deque()
        self._machine = Machine(
            RETARGET,
            RetargetState.FIXED,
            {
                RetargetAction.BEGIN: self._begin,
                RetargetAction.KEEP_LATEST: self._keep_latest,
                RetargetAction.QUEUE: lambda: self._waiting.append(self._latest),
                RetargetAction.MOVE: self._move,
                RetargetAction.RESPOND: self._respond,
                RetargetAction.REFUSE: lambda: self._answer(self._link.options.modify_status),
                RetargetAction.REFUSE_CLOSED: self._refuse_closed,
                RetargetAction.BEGIN_NEXT: self._begin_next,
                RetargetAction.FORGET_REQUESTS: self._forget_requests,
            },
        )

    @property
    def state(self) -> RetargetState:
        """Where it stands in the table."""
        return self._machine.state

    def open(self, opened: OpenedChannel) -> None:
        """The guest has been told that the channel is open.  Without interrupts there is nothing to move."""
        if opened.target_vp is not None:
            self._opened = opened
            self._machine.fire(RetargetEvent.OPENED)

    def close(self) -> None:
        """The channel is no longer open."""
        self._machine.fire(RetargetEvent.CLOSED)
        self._opened = None

    def modify(self, message: ModifyChannel) -> None:
        """MODIFYCHANNEL from the guest."""
        if message.target_vp not in self._link.hypervisor.vps:
            self._answer(NtStatus.UNSUCCESSFUL)
            raise BadTarget(f"MODIFYCHANNEL of channel {message.relid}: there is no VP {message.target_vp:#x}")
        self._hear(_Request(message.target_vp))

    def _hear(self, request: _Request) -> None:
        self._latest = request
        if self._link.version < Version.V5_3:
            self._machine.fire(RetargetEvent.MODIFY_UNANSWERED)
        elif self._link.options.queue_overlapping_modify:
            self._machine.fire(RetargetEvent.MODIFY_QUEUED)
        else:
            self._machine.fire(RetargetEvent.MODIFY)

    def _begin(self) -> None:
        relid = self._relid()
        assert relid is not None, "a channel that is open has a relid"
        self._current = self._latest
        self._link.pace(Step.MODIFY, relid, partial(self._get_round_to, self._latest))

    def _get_round_to(self, request: _Request) -> None:
        if self._current is request:
            self._machine.fire(_VERDICT[self._link.options.modify])

    def _keep_latest(self) -> None:
        self._waiting.clear()
        self._waiting.append(self._latest)

    def _begin_next(self) -> None:
        self._current = None
        if self._waiting:
            self._hear(self._waiting.popleft())

    def _move(self) -> None:
        assert self._opened is not None and self._current is not None, "only an open channel is moved"
        self._opened.target_vp = self._current.target_vp

    def _respond(self) -> None:
        """From this answer on the guest expects nothing on the old VP, so the old VP has to have got it all."""
        assert self._current is not None
        self._answer(NtStatus.SUCCESS, after=frozenset(self._unfenced - {self._current.target_vp}))
        if self._link.version >= Version.V5_3:
            self._unfenced.intersection_update({self._current.target_vp})

    def _refuse_closed(self) -> None:
        if self._link.options.answer_modify_of_closed:
            self._answer(NtStatus.UNSUCCESSFUL)

    def _forget_requests(self) -> None:
        overtaken = len(self._waiting) + (self._current is not None)
        self._current = None
        self._waiting.clear()
        if not self._link.options.answer_modify_overtaken:
            self._link.overtaken += overtaken
            return
        for _ in range(overtaken):
            self._answer(NtStatus.UNSUCCESSFUL)

    def _answer(self, status: int, after: frozenset[VpIndex] = frozenset()) -> None:
        relid = self._relid()
        if relid is not None and self._link.version >= Version.V5_3:
            self._link.post(ModifyChannelResponse(relid, status), after)
