"""A channel as its server sees it, from the operator's offer to the guest's release.

After OpenVMM's ``channels.rs``, whose states keep their names.  There a revoked device is gone at once; here it may
still be closing, which the states with two halves say, so that neither the guest's memory nor the device is used
twice.  What the guest may do with the target VP of an open channel is the table ``retarget``.
"""

from enum import Enum, auto

from host.vmbus.tables.shape import Cell, Table, never, refused, stay, table, to, wrong


class ChannelState(Enum):
    """Who knows the channel, and what its device is doing."""

    CLIENT_RELEASED = auto()
    """Offered by the operator; the guest has no relid for it."""
    CLOSED = auto()
    """Offered to the guest."""
    OPENING = auto()
    """OPENCHANNEL was received and the device asked."""
    OPEN = auto()
    """OPENCHANNEL_RESULT was success."""
    CLOSING = auto()
    """Offered, but the device has not finished closing."""
    CLOSING_REOPEN = auto()
    """OPENCHANNEL came meanwhile: CLOSECHANNEL has no answer, so the guest cannot know."""
    REVOKED = auto()
    """RESCIND_CHANNELOFFER is sent; the relid is the guest's until it releases it."""
    REVOKED_CLOSING = auto()
    """The same, and the device has not finished closing."""
    REOFFERED = auto()
    """Revoked, and offered by the operator again; the guest hears of it when it has released the old offer."""
    REOFFERED_CLOSING = auto()
    """The same, and the former device has not finished closing."""
    OPENING_CLIENT_RELEASE = auto()
    """Released by the guest while the device opens."""
    CLOSING_CLIENT_RELEASE = auto()
    """Released by the guest while the device closes."""
    DEPARTING = auto()
    """Revoked and released; only the device's close is awaited."""
    GONE = auto()
    """Final: the server has forgotten the channel."""


class ChannelEvent(Enum):
    """What happens to a channel: guest messages, the device's answers, the operator's wishes."""

    OFFER = auto()
    """It is time to tell the guest: REQUESTOFFERS, or a new device on a connection that had its offers."""
    OPENCHANNEL = auto()
    CLOSECHANNEL = auto()
    RELID_RELEASED = auto()
    DISCONNECT = auto()
    """UNLOAD, reconnect or reset: the guest lets go of everything."""
    DEVICE_OPENED = auto()
    DEVICE_REFUSED = auto()
    """The rings are no rings, or the device would not open."""
    DEVICE_CLOSED = auto()
    """The device no longer touches guest memory."""
    REVOKE = auto()
    """The operator takes the device away."""
    REOFFER = auto()
    """The operator offers a device with the same GUID pair and sub-channel index."""


class ChannelAction(Enum):
    """What the server does.  The two that call the device come last: the device may answer from within the call."""

    ASSIGN_RELID = auto()
    SEND_OFFER = auto()
    REMEMBER_REQUEST = auto()
    """Keep the OPENCHANNEL: its open id is echoed, and its rings are looked at when the device is free."""
    SEND_SUCCESS = auto()
    SEND_FAILURE = auto()
    """OPENCHANNEL_RESULT; there is exactly one of them for an open that is not overtaken by rescind or release."""
    REVOKE_GPADLS = auto()
    SEND_RESCIND = auto()
    RELEASE_GPADLS = auto()
    FREE_RELID = auto()
    ADOPT_DEVICE = auto()
    """The device of the new offer replaces the revoked one."""
    FORGET = auto()
    """Remove the channel from the server."""
    UNMAP = auto()
    """The device's hold on the rings and on other GPADLs ends, which may complete a GPADL_TEARDOWN."""
    OPEN_DEVICE = auto()
    """Map the rings, connect the doorbell, open the device: all before the guest gets the result."""
    CLOSE_DEVICE = auto()
    """Disconnect doorbell and signals, close the device."""


S, E, A = ChannelState, ChannelEvent, ChannelAction
_Row = dict[ChannelEvent, Cell[ChannelState, ChannelAction]]

_OTHERWISE: _Row = {
    E.OFFER: never("the guest has this offer"),
    E.OPENCHANNEL: wrong("the channel is already open"),
    E.CLOSECHANNEL: wrong("the channel is not open"),
    E.RELID_RELEASED: wrong("the channel is in use"),
    E.DEVICE_OPENED: never("the device was not asked to open"),
    E.DEVICE_REFUSED: never("the device was not asked to open"),
    E.DEVICE_CLOSED: never("the device was not asked to close"),
    E.REOFFER: refused("a device with this GUID pair is already offered"),
}
_RELEASED: _Row = {
    E.OPENCHANNEL: wrong("the guest has released this relid"),
    E.CLOSECHANNEL: wrong("the guest has released this relid"),
    E.RELID_RELEASED: wrong("the guest has released this relid"),
    E.DISCONNECT: stay(),
}
_RESCINDED: _Row = {
    # The guest sent these before it saw the RESCIND, which is the only answer it gets.
    E.OPENCHANNEL: stay(),
    E.CLOSECHANNEL: stay(),
}

CHANNEL: Table[ChannelState, ChannelEvent, ChannelAction] = table(
    S,
    E,
    {
        S.CLIENT_RELEASED: _RELEASED
        | {
            E.OFFER: to(S.CLOSED, A.ASSIGN_RELID, A.SEND_OFFER),
            E.REVOKE: to(S.GONE, A.FORGET),
        },
        S.CLOSED: {
            E.OPENCHANNEL: to(S.OPENING, A.REMEMBER_REQUEST, A.OPEN_DEVICE),
            E.RELID_RELEASED: to(S.CLIENT_RELEASED, A.RELEASE_GPADLS, A.FREE_RELID),
            E.DISCONNECT: to(S.CLIENT_RELEASED, A.RELEASE_GPADLS, A.FREE_RELID),
            E.REVOKE: to(S.REVOKED, A.REVOKE_GPADLS, A.SEND_RESCIND),
        },
        S.OPENING: {
            E.DEVICE_OPENED: to(S.OPEN, A.SEND_SUCCESS),
            E.DEVICE_REFUSED: to(S.CLOSED, A.SEND_FAILURE, A.UNMAP),
            E.DISCONNECT: to(S.OPENING_CLIENT_RELEASE, A.RELEASE_GPADLS, A.FREE_RELID),
            E.REVOKE: to(S.REVOKED_CLOSING, A.REVOKE_GPADLS, A.SEND_RESCIND, A.CLOSE_DEVICE),
        },
        S.OPEN: {
            E.CLOSECHANNEL: to(S.CLOSING, A.CLOSE_DEVICE),
            E.DISCONNECT: to(S.CLOSING_CLIENT_RELEASE, A.RELEASE_GPADLS, A.FREE_RELID, A.CLOSE_DEVICE),
            E.REVOKE: to(S.REVOKED_CLOSING, A.REVOKE_GPADLS, A.SEND_RESCIND, A.CLOSE_DEVICE),
        },
        S.CLOSING: {
            E.OPENCHANNEL: to(S.CLOSING_REOPEN, A.REMEMBER_REQUEST),
            E.RELID_RELEASED: to(S.CLOSING_CLIENT_RELEASE, A.RELEASE_GPADLS, A.FREE_RELID),
            E.DISCONNECT: to(S.CLOSING_CLIENT_RELEASE, A.RELEASE_GPADLS, A.FREE_RELID),
            E.DEVICE_CLOSED: to(S.CLOSED, A.UNMAP),
            E.REVOKE: to(S.REVOKED_CLOSING, A.REVOKE_GPADLS, A.SEND_RESCIND),
        },
        S.CLOSING_REOPEN: {
            E.DISCONNECT: to(S.CLOSING_CLIENT_RELEASE, A.RELEASE_GPADLS, A.FREE_RELID),
            E.DEVICE_CLOSED: to(S.OPENING, A.UNMAP, A.OPEN_DEVICE),
            E.REVOKE: to(S.REVOKED_CLOSING, A.REVOKE_GPADLS, A.SEND_RESCIND),
        },
        S.REVOKED: _RESCINDED
        | {
            E.RELID_RELEASED: to(S.GONE, A.RELEASE_GPADLS, A.FREE_RELID, A.FORGET),
            E.DISCONNECT: to(S.GONE, A.RELEASE_GPADLS, A.FREE_RELID, A.FORGET),
            E.REVOKE: stay(),
            E.REOFFER: to(S.REOFFERED, A.ADOPT_DEVICE),
        },
        S.REVOKED_CLOSING: _RESCINDED
        | {
            E.RELID_RELEASED: to(S.DEPARTING, A.RELEASE_GPADLS, A.FREE_RELID),
            E.DISCONNECT: to(S.DEPARTING, A.RELEASE_GPADLS, A.FREE_RELID),
            E.DEVICE_CLOSED: to(S.REVOKED, A.UNMAP),
            E.REVOKE: stay(),
            E.REOFFER: to(S.REOFFERED_CLOSING, A.ADOPT_DEVICE),
        },
        S.REOFFERED: _RESCINDED
        | {
            E.RELID_RELEASED: to(S.CLOSED, A.RELEASE_GPADLS, A.SEND_OFFER),
            E.DISCONNECT: to(S.CLIENT_RELEASED, A.RELEASE_GPADLS, A.FREE_RELID),
            E.REVOKE: to(S.REVOKED),
        },
        S.REOFFERED_CLOSING: _RESCINDED
        | {
            E.RELID_RELEASED: to(S.CLOSING, A.RELEASE_GPADLS, A.SEND_OFFER),
            E.DISCONNECT: to(S.CLOSING_CLIENT_RELEASE, A.RELEASE_GPADLS, A.FREE_RELID),
            E.DEVICE_CLOSED: to(S.REOFFERED, A.UNMAP),
            E.REVOKE: to(S.REVOKED_CLOSING),
        },
        S.OPENING_CLIENT_RELEASE: _RELEASED
        | {
            E.DEVICE_OPENED: to(S.CLOSING_CLIENT_RELEASE, A.CLOSE_DEVICE),
            E.DEVICE_REFUSED: to(S.CLIENT_RELEASED, A.UNMAP),
            E.REVOKE: to(S.DEPARTING, A.CLOSE_DEVICE),
        },
        S.CLOSING_CLIENT_RELEASE: _RELEASED
        | {
            E.OFFER: to(S.CLOSING, A.ASSIGN_RELID, A.SEND_OFFER),
            E.DEVICE_CLOSED: to(S.CLIENT_RELEASED, A.UNMAP),
            E.REVOKE: to(S.DEPARTING),
        },
        S.DEPARTING: _RELEASED
        | {
            E.DEVICE_CLOSED: to(S.GONE, A.UNMAP, A.FORGET),
            E.REVOKE: stay(),
            E.REOFFER: to(S.CLOSING_CLIENT_RELEASE, A.ADOPT_DEVICE),
        },
        # An operator may hold on to the handle of a channel that is gone.
        S.GONE: _RELEASED | {E.REVOKE: stay()},
    },
    otherwise=_OTHERWISE,
)
