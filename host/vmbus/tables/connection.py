"""The connection of one guest to one VMBus server (INITIATE_CONTACT to UNLOAD_RESPONSE).

After OpenVMM's ``channels.rs``.  Its Connecting state is left out: it waits for a relay, and there is none here.
"""

from enum import Enum, auto

from host.vmbus.tables.shape import Cell, Table, stay, table, to, wrong


class ConnectionState(Enum):
    """What the guest has negotiated so far."""

    DISCONNECTED = auto()
    NEGOTIATED = auto()
    """A version is agreed on; offers have not been requested."""
    CONNECTED = auto()
    """Offers were requested; a new device is offered at once."""
    UNLOADING = auto()
    """UNLOAD was received; the answer waits until the host has let go of all guest memory."""
    RECONNECTING = auto()
    """INITIATE_CONTACT was received on a connection; the last one counts once the host has let go."""
    RESETTING = auto()
    """The VM is being reset; nobody is answered."""


class ConnectionEvent(Enum):
    """What happens to a connection.  An INITIATE_CONTACT is one of the first three, whatever the state."""

    CONTACT = auto()
    """INITIATE_CONTACT that can be accepted."""
    CONTACT_UNSUPPORTED = auto()
    """INITIATE_CONTACT with a version that is not on the list: the guest steps down and tries again."""
    CONTACT_FAILED = auto()
    """INITIATE_CONTACT with a good version and bad parameters (monitor pages, target VP)."""
    REQUESTOFFERS = auto()
    UNLOAD = auto()
    CHANNEL_MESSAGE = auto()
    """Any other message; the channel's and the GPADL's tables go on from here."""
    OFFER = auto()
    """The operator offers a device."""
    RESET = auto()
    """The VM is reset."""
    UNUSED = auto()
    """No channel and no GPADL is in use any more."""


class ConnectionAction(Enum):
    """What the server does."""

    ACCEPT = auto()
    """VERSION_RESPONSE, supported; version and message target of the request now hold."""
    REFUSE = auto()
    """VERSION_RESPONSE, not supported, to the previous message target: the new one is adopted only on success."""
    FAIL = auto()
    """VERSION_RESPONSE, supported, with a failure in connection_state (Linux ignores it)."""
    REMEMBER_CONTACT = auto()
    CONTACT_AGAIN = auto()
    """Treat the remembered INITIATE_CONTACT as if it came now."""
    FORGET_QUEUE = auto()
    """Host messages that still wait for the old connection will not be sent."""
    RELEASE_ALL = auto()
    """DISCONNECT to every channel."""
    SEND_OFFERS = auto()
    """OFFERCHANNEL for all, then ALLOFFERS_DELIVERED."""
    SEND_OFFER = auto()
    HANDLE = auto()
    SEND_UNLOAD_RESPONSE = auto()
    """Behind every signal that any channel raised."""
    START_OVER = auto()
    """Forget the message target, too."""


S, E, A = ConnectionState, ConnectionEvent, ConnectionAction
_Row = dict[ConnectionEvent, Cell[ConnectionState, ConnectionAction]]

_UNCONNECTED: _Row = {
    E.REQUESTOFFERS: wrong("there is no connection"),
    E.UNLOAD: wrong("there is no connection"),
    E.CHANNEL_MESSAGE: wrong("there is no connection"),
    E.OFFER: stay(),
    E.UNUSED: stay(),
}
_RECONNECT: Cell[ConnectionState, ConnectionAction] = to(
    S.RECONNECTING, A.REMEMBER_CONTACT, A.FORGET_QUEUE, A.RELEASE_ALL
)
_CONNECTED: _Row = {
    E.CONTACT: _RECONNECT,
    E.CONTACT_UNSUPPORTED: _RECONNECT,
    E.CONTACT_FAILED: _RECONNECT,
    E.UNLOAD: to(S.UNLOADING, A.FORGET_QUEUE, A.RELEASE_ALL),
    E.CHANNEL_MESSAGE: stay(A.HANDLE),
    E.RESET: to(S.RESETTING, A.FORGET_QUEUE, A.RELEASE_ALL),
    E.UNUSED: stay(),
}
_REPLACE: _Row = {
    E.CONTACT: to(S.RECONNECTING, A.REMEMBER_CONTACT),
    E.CONTACT_UNSUPPORTED: to(S.RECONNECTING, A.REMEMBER_CONTACT),
    E.CONTACT_FAILED: to(S.RECONNECTING, A.REMEMBER_CONTACT),
    E.RESET: to(S.RESETTING),
}

CONNECTION: Table[ConnectionState, ConnectionEvent, ConnectionAction] = table(
    S,
    E,
    {
        S.DISCONNECTED: {
            E.CONTACT: to(S.NEGOTIATED, A.ACCEPT),
            E.CONTACT_UNSUPPORTED: stay(A.REFUSE),
            E.CONTACT_FAILED: stay(A.FAIL),
            E.RESET: stay(A.FORGET_QUEUE, A.START_OVER),
        },
        S.NEGOTIATED: _CONNECTED
        | {
            E.REQUESTOFFERS: to(S.CONNECTED, A.SEND_OFFERS),
            E.OFFER: stay(),
        },
        S.CONNECTED: _CONNECTED
        | {
            E.REQUESTOFFERS: wrong("offers were already requested on this connection"),
            E.OFFER: stay(A.SEND_OFFER),
        },
        S.UNLOADING: _REPLACE | {E.UNUSED: to(S.DISCONNECTED, A.SEND_UNLOAD_RESPONSE)},
        S.RECONNECTING: _REPLACE | {E.UNUSED: to(S.DISCONNECTED, A.CONTACT_AGAIN)},
        S.RESETTING: _REPLACE | {E.UNUSED: to(S.DISCONNECTED, A.START_OVER)},
    },
    otherwise=_UNCONNECTED,
)
