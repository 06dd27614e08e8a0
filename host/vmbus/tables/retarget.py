"""The target VP of one channel (MODIFYCHANNEL, from protocol 4.1; answered from 5.3).

Below 5.3 the guest cannot know when a move is done, so the host keeps the latest wish of those that come meanwhile
(OpenVMM).  From 5.3 a second request before the answer breaks the protocol: OpenVMM ignores it; a host that works
through all of them in order, and answers each, is an option.
"""

from enum import Enum, auto

from host.vmbus.tables.shape import Cell, Table, never, stay, table, to, wrong


class RetargetState(Enum):
    """Whether the channel can be moved, and whether it is being moved."""

    FIXED = auto()
    """Not open, or opened without interrupts (target VP 0xFFFFFFFF)."""
    SETTLED = auto()
    MOVING = auto()
    """A request has been taken up; signals still go to the old VP.  Further requests may wait behind it."""


class RetargetEvent(Enum):
    """A MODIFYCHANNEL is one of the first three, by version and host option."""

    MODIFY = auto()
    """Protocol 5.3: the guest has to wait for the answer."""
    MODIFY_UNANSWERED = auto()
    """Below 5.3."""
    MODIFY_QUEUED = auto()
    """Protocol 5.3, on a host that takes several at once."""
    MOVED = auto()
    """The host got round to it."""
    TURNED_DOWN = auto()
    """The host got round to it and will not do it."""
    DROPPED = auto()
    """The host lost it."""
    OPENED = auto()
    CLOSED = auto()


class RetargetAction(Enum):
    """What the server does."""

    BEGIN = auto()
    """Take up the request; a slow host takes its time."""
    KEEP_LATEST = auto()
    QUEUE = auto()
    MOVE = auto()
    """From here on signals go to the new VP."""
    RESPOND = auto()
    """MODIFYCHANNEL_RESPONSE, success, behind every signal that went to an old VP.  Nothing below 5.3."""
    REFUSE = auto()
    """MODIFYCHANNEL_RESPONSE with a failure.  Nothing below 5.3."""
    REFUSE_CLOSED = auto()
    """The same, if this host answers for channels that are not open."""
    BEGIN_NEXT = auto()
    """If another request waits."""
    FORGET_REQUESTS = auto()


S, E, A = RetargetState, RetargetEvent, RetargetAction
_Row = dict[RetargetEvent, Cell[RetargetState, RetargetAction]]

_OTHERWISE: _Row = {
    E.MODIFY: wrong("a MODIFYCHANNEL is in progress"),
    E.MOVED: never("nothing was being moved"),
    E.TURNED_DOWN: never("nothing was being moved"),
    E.DROPPED: never("nothing was being moved"),
    E.OPENED: never("the channel was open"),
    E.CLOSED: to(S.FIXED, A.FORGET_REQUESTS),
}

RETARGET: Table[RetargetState, RetargetEvent, RetargetAction] = table(
    S,
    E,
    {
        S.FIXED: {
            E.MODIFY: wrong("the channel is not open for interrupts", A.REFUSE_CLOSED),
            E.MODIFY_UNANSWERED: wrong("the channel is not open for interrupts"),
            E.MODIFY_QUEUED: wrong("the channel is not open for interrupts", A.REFUSE_CLOSED),
            E.OPENED: to(S.SETTLED),
            E.CLOSED: stay(),
        },
        S.SETTLED: {
            E.MODIFY: to(S.MOVING, A.BEGIN),
            E.MODIFY_UNANSWERED: to(S.MOVING, A.BEGIN),
            E.MODIFY_QUEUED: to(S.MOVING, A.BEGIN),
        },
        S.MOVING: {
            E.MODIFY_UNANSWERED: stay(A.KEEP_LATEST),
            E.MODIFY_QUEUED: stay(A.QUEUE),
            E.MOVED: to(S.SETTLED, A.MOVE, A.RESPOND, A.BEGIN_NEXT),
            E.TURNED_DOWN: to(S.SETTLED, A.REFUSE, A.BEGIN_NEXT),
            E.DROPPED: to(S.SETTLED, A.BEGIN_NEXT),
        },
    },
    otherwise=_OTHERWISE,
)
