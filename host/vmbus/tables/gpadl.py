"""One GPADL (guest physical address descriptor list): guest pages described to the host, until it lets go of them.

After OpenVMM's ``channels.rs``.  GPADL_TORNDOWN is the host's promise never to touch the pages again.
"""

from enum import Enum, auto

from host.vmbus.tables.shape import Cell, Table, never, stay, table, to, wrong


class GpadlState(Enum):
    """How far the description has come, and who still needs the pages."""

    IN_PROGRESS = auto()
    """GPADL_BODY messages are missing."""
    OFFERED = auto()
    """Complete; the host looks whether it can map the pages."""
    ACCEPTED = auto()
    TEARING_DOWN = auto()
    """GPADL_TEARDOWN was received; the last mapping is awaited."""
    OFFERED_RELEASED = auto()
    """The channel was released while the host looked (OpenVMM: OfferedTearingDown)."""
    RELEASED = auto()
    """The channel was released; the last mapping is awaited, and nobody is told."""
    GONE = auto()


class GpadlEvent(Enum):
    """What happens to a GPADL.  Its first message, GPADL_HEADER, creates it in IN_PROGRESS."""

    COMPLETE = auto()
    """The last piece has come, and the ranges make sense."""
    COMPLETE_REVOKED = auto()
    """The same on a revoked channel: there is no device to ask."""
    MALFORMED = auto()
    MAPPABLE = auto()
    UNMAPPABLE = auto()
    """Some page is not RAM."""
    TEARDOWN = auto()
    UNMAPPED = auto()
    """No mapping is left."""
    RELEASE = auto()
    """The guest released the channel (RELID_RELEASED, UNLOAD, reconnect): no answer is possible any more."""
    REVOKE = auto()
    """The channel is being rescinded."""


class GpadlAction(Enum):
    """What the server does."""

    ASK = auto()
    """See whether the pages can be mapped; a slow host takes its time."""
    SEND_CREATED = auto()
    SEND_FAILED = auto()
    """GPADL_CREATED with a failure."""
    LET_GO = auto()
    """UNMAPPED now if nothing is mapped, else when the device has finished."""
    SEND_TORNDOWN = auto()
    FORGET = auto()


S, E, A = GpadlState, GpadlEvent, GpadlAction
_Row = dict[GpadlEvent, Cell[GpadlState, GpadlAction]]

_OTHERWISE: _Row = {
    E.COMPLETE: never("the GPADL was complete"),
    E.COMPLETE_REVOKED: never("the GPADL was complete"),
    E.MALFORMED: never("the GPADL was complete"),
    E.MAPPABLE: never("nobody asked"),
    E.UNMAPPABLE: never("nobody asked"),
    E.TEARDOWN: wrong("the GPADL is not established"),
    E.UNMAPPED: stay(),
    E.REVOKE: stay(),
}
_RELEASED: _Row = {E.TEARDOWN: wrong("the channel was released"), E.RELEASE: stay()}

GPADL: Table[GpadlState, GpadlEvent, GpadlAction] = table(
    S,
    E,
    {
        S.IN_PROGRESS: {
            E.COMPLETE: to(S.OFFERED, A.ASK),
            E.COMPLETE_REVOKED: to(S.ACCEPTED, A.SEND_CREATED),
            E.MALFORMED: to(S.GONE, A.SEND_FAILED, A.FORGET),
            E.RELEASE: to(S.GONE, A.FORGET),
        },
        S.OFFERED: {
            E.MAPPABLE: to(S.ACCEPTED, A.SEND_CREATED),
            E.UNMAPPABLE: to(S.GONE, A.SEND_FAILED, A.FORGET),
            E.RELEASE: to(S.OFFERED_RELEASED),
            E.REVOKE: to(S.GONE, A.SEND_FAILED, A.FORGET),
        },
        S.ACCEPTED: {
            E.TEARDOWN: to(S.TEARING_DOWN, A.LET_GO),
            E.RELEASE: to(S.RELEASED, A.LET_GO),
        },
        S.TEARING_DOWN: {
            E.UNMAPPED: to(S.GONE, A.SEND_TORNDOWN, A.FORGET),
            E.RELEASE: to(S.RELEASED),
        },
        S.OFFERED_RELEASED: _RELEASED
        | {
            E.MAPPABLE: to(S.RELEASED, A.LET_GO),
            E.UNMAPPABLE: to(S.GONE, A.FORGET),
            E.REVOKE: to(S.GONE, A.FORGET),
        },
        S.RELEASED: _RELEASED | {E.UNMAPPED: to(S.GONE, A.FORGET)},
        S.GONE: _RELEASED,
    },
    otherwise=_OTHERWISE,
)
