"""The messages about channels and GPADLs, on a connection: who gets which."""

from host.vmbus.gpadls import Gpadls
from host.vmbus.link import Link
from host.vmbus.relids import UnknownRelid
from host.vmbus.tables.channel import ChannelEvent
from protocol.errors import PeerError
from protocol.wire.messages import (
    CloseChannel,
    ControlMessage,
    GpadlBody,
    GpadlHeader,
    GpadlTeardown,
    ModifyChannel,
    ModifyChannelResponse,
    NtStatus,
    OpenChannel,
    RelidReleased,
    TlConnectRequest,
    TlConnectResult,
)
from protocol.wire.versions import Version


class Unsupported(PeerError):
    """A message that the negotiated version does not have, or that this server grants no feature for."""


def dispatch(message: ControlMessage, link: Link, gpadls: Gpadls) -> None:
    """Do what the guest asks.  PeerError: it was wrong, and has been answered if there is an answer to it."""
    match message:
        case OpenChannel():
            link.relids.find(message.relid).open(message)
        case CloseChannel():
            link.relids.find(message.relid).fire(ChannelEvent.CLOSECHANNEL)
        case RelidReleased():
            link.relids.find(message.relid).fire(ChannelEvent.RELID_RELEASED)
        case ModifyChannel():
            _modify(message, link)
        case GpadlHeader():
            _header(message, link, gpadls)
        case GpadlBody():
            gpadls.body(message)
        case GpadlTeardown():
            gpadls.teardown(message)
        case TlConnectRequest():
            _refuse_socket(message, link)
        case _:
            # The reserved channels are Windows' own (crash dump, kernel debugger).
            raise Unsupported(f"{message.name} is not supported")


def _modify(message: ModifyChannel, link: Link) -> None:
    try:
        channel = link.relids.find(message.relid)
    except UnknownRelid:
        if link.version >= Version.V5_3 and link.options.answer_modify_of_closed:
            link.post(ModifyChannelResponse(message.relid, NtStatus.UNSUCCESSFUL))
        raise
    channel.retarget.modify(message)


def _header(message: GpadlHeader, link: Link, gpadls: Gpadls) -> None:
    try:
        link.relids.find(message.relid)
    except UnknownRelid:
        gpadls.refuse(message)
        raise
    gpadls.header(message)


def _refuse_socket(message: TlConnectRequest, link: Link) -> None:
    """hv_sock: no host service listens here.  Below the version that has a refusal the guest's timeout has to do."""
    if link.version >= TlConnectResult.since:
        link.post(TlConnectResult(message.endpoint_id, message.service_id, NtStatus.CONNECTION_REFUSED))
