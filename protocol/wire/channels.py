"""The messages about one channel's life: open, close, move, and the reserved channels of Windows."""

from protocol.ids import ConnectionId, GpadlId, Relid, VpIndex
from protocol.wire.control import ControlMessage, message
from protocol.wire.fields import raw, u16, u32
from protocol.wire.offers import USER_DEFINED_BYTES
from protocol.wire.versions import Feature, Version

NO_INTERRUPTS = VpIndex(0xFFFF_FFFF)
"""As target VP: the channel is never to interrupt (OpenVMM, ``VP_INDEX_DISABLE_INTERRUPT``)."""

REDIRECT_INTERRUPT = 0x1
"""``OpenChannel.open_flags``, bit 0 (OpenVMM, ``OpenChannelFlags``)."""

_SIGNAL = Feature.GUEST_SPECIFIED_SIGNAL_PARAMETERS
_LONG_OPEN = Feature.GUEST_SPECIFIED_SIGNAL_PARAMETERS | Feature.CHANNEL_INTERRUPT_REDIRECTION


@message(5, "OPENCHANNEL", to_host=True)
class OpenChannel(ControlMessage):
    """Start the device. The ring buffers are in the GPADL: upstream first, downstream from ``downstream_page`` on.

    ``open_id`` is echoed in the result. ``target_vp`` is where the host interrupts. The last three fields are OpenVMM's
    ``OpenChannel2``: 156 bytes instead of 148 as soon as 6.0 and one of the two features were agreed on.
    """

    relid: Relid = u32(8)
    open_id: int = u32(12)
    ring_gpadl: GpadlId = u32(16)
    target_vp: VpIndex = u32(20)
    downstream_page: int = u32(24)
    user_data: bytes = raw(28, USER_DEFINED_BYTES)
    connection_id: ConnectionId | None = u32(148, default=None, since=Version.V6_0, feature=_SIGNAL)
    event_flag: int | None = u16(152, default=None, since=Version.V6_0, feature=_SIGNAL)
    open_flags: int | None = u16(154, default=None, since=Version.V6_0, feature=_LONG_OPEN)


@message(6, "OPENCHANNEL_RESULT", to_host=False)
class OpenChannelResult(ControlMessage):
    """The device runs (status 0) or refused. Linux looks for the waiting open by relid and ``open_id`` both."""

    relid: Relid = u32(8)
    open_id: int = u32(12)
    status: int = u32(16)


@message(7, "CLOSECHANNEL", to_host=True)
class CloseChannel(ControlMessage):
    """Stop the device. There is no answer; that the memory is free again is said by GPADL_TORNDOWN."""

    relid: Relid = u32(8)


@message(22, "MODIFYCHANNEL", to_host=True, since=Version.WIN10_RS3)
class ModifyChannel(ControlMessage):
    """Interrupt another VP from now on (``vmbus_send_modifychannel``)."""

    relid: Relid = u32(8)
    target_vp: VpIndex = u32(12)


@message(24, "MODIFYCHANNEL_RESPONSE", to_host=False, since=Version.V5_3)
class ModifyChannelResponse(ControlMessage):
    """The host's promise that it will not interrupt the old VP for this channel any more."""

    relid: Relid = u32(8)
    status: int = u32(12)


# Types 18 to 20 have numbers but no names in Linux; names and layouts are OpenVMM's (vmbus_core, protocol.rs).


@message(18, "OPEN_RESERVED_CHANNEL", to_host=True, since=Version.WIN10)
class OpenReservedChannel(ControlMessage):
    """Open a channel that outlives UNLOAD (kernel debugger, crash dump). The result goes to this VP and SINT."""

    relid: Relid = u32(8)
    target_vp: VpIndex = u32(12)
    target_sint: int = u32(16)
    ring_gpadl: GpadlId = u32(20)
    downstream_page: int = u32(24)


@message(19, "CLOSE_RESERVED_CHANNEL", to_host=True, disconnected=True)
class CloseReservedChannel(ControlMessage):
    """Close it again, with or without a connection."""

    relid: Relid = u32(8)
    target_vp: VpIndex = u32(12)
    target_sint: int = u32(16)


@message(20, "CLOSE_RESERVED_RESPONSE", to_host=False, since=Version.WIN10)
class CloseReservedResponse(ControlMessage):
    """The reserved channel is closed."""

    relid: Relid = u32(8)
