"""The messages about the connection as a whole: contact, unload, pause.

Fields and messages of 6.0 are OpenVMM's (vmbus_core, protocol.rs); the rest is in linux/hyperv.h.
"""

from enum import IntEnum
from uuid import UUID

from protocol.ids import VpIndex
from protocol.wire.control import ControlMessage, message
from protocol.wire.fields import guid, u8, u32, u64
from protocol.wire.layout import Readable
from protocol.wire.versions import Dialect, Feature, Version

_MONITOR_PAGES = Feature.SERVER_SPECIFIED_MONITOR_PAGES


class ConnectionState(IntEnum):
    """Why a supported version was refused all the same. Linux ignores it."""

    SUCCESSFUL = 0
    FAILED_LOW_RESOURCES = 1
    FAILED_UNKNOWN_FAILURE = 2


def _u32_at(data: Readable, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


@message(14, "INITIATE_CONTACT", to_host=True, disconnected=True)
class InitiateContact(ControlMessage):
    """Speak this version with me, and send your messages to this VP (``vmbus_negotiate_version``).

    The eight bytes at 16 were the address of the interrupt page below 5.0 and are SINT, VTL and feature flags since;
    the message itself says which, so its form does not depend on a dialect. The client id is there if feature 0x8 is
    asked for: 56 bytes instead of 40. SINT and VTL count only on the multi-client port: the server's business.
    """

    version: int = u32(8)
    target_vp: VpIndex = u32(12)
    interrupt_page: int = u64(16, default=0, before=Version.V5_0)
    sint: int = u8(16, default=2, since=Version.V5_0)
    vtl: int = u8(17, default=0, since=Version.V5_1)
    feature_flags: int = u32(20, default=0, since=Version.V6_0)
    parent_to_child_monitor: int = u64(24, default=0)
    child_to_parent_monitor: int = u64(32, default=0)
    client_id: UUID | None = guid(40, default=None, since=Version.V6_0, feature=Feature.CLIENT_ID)

    def form_to_send(self, dialect: Dialect) -> tuple[int, int]:
        return self.version, self.feature_flags

    @classmethod
    def form_received(cls, data: Readable, dialect: Dialect) -> tuple[int, int]:
        return _u32_at(data, 8), _u32_at(data, 20)


@message(15, "VERSION_RESPONSE", to_host=False, disconnected=True)
class VersionResponse(ControlMessage):
    """Agreed, or not. ``connection_id`` is where to post from now on; below 5.0 it is the selected version.

    16 bytes; 20 from 6.0 on, with the granted features; 40 if 0x40 is among them, with the host's monitor pages. A
    refusal always has 16 bytes. The reader tells the forms by size, within the version it asked for.
    """

    supported: int = u8(8)
    connection_state: int = u8(9, default=0)
    connection_id: int = u32(12, default=0)
    features: int | None = u32(16, default=None, since=Version.V6_0)
    parent_to_child_monitor: int | None = u64(24, default=None, since=Version.V6_0, feature=_MONITOR_PAGES)
    child_to_parent_monitor: int | None = u64(32, default=None, since=Version.V6_0, feature=_MONITOR_PAGES)

    def form_to_send(self, dialect: Dialect) -> tuple[int, int]:
        return (dialect.version, self.features or 0) if self.supported else (0, 0)

    @classmethod
    def form_received(cls, data: Readable, dialect: Dialect) -> tuple[int, int]:
        supported, with_features = any(data[8:9]), len(data) >= 20
        return (dialect.version, _u32_at(data, 16)) if supported and with_features else (0, 0)


@message(16, "UNLOAD", to_host=True)
class Unload(ControlMessage):
    """Let go of everything. Linux sends it on kexec, crash and hibernation, from 3.0 on (``vmbus_initiate_unload``)."""


@message(17, "UNLOAD_RESPONSE", to_host=False, since=Version.WIN7)
class UnloadResponse(ControlMessage):
    """No memory of the guest is touched any more. Linux waits for it, polling if it must."""


@message(25, "MODIFY_CONNECTION", to_host=True, since=Version.V6_0, feature=Feature.MODIFY_CONNECTION)
class ModifyConnection(ControlMessage):
    """Change the monitor pages: both or none."""

    parent_to_child_monitor: int = u64(8)
    child_to_parent_monitor: int = u64(16)


@message(26, "MODIFY_CONNECTION_RESPONSE", to_host=False, since=Version.V6_0, feature=Feature.MODIFY_CONNECTION)
class ModifyConnectionResponse(ControlMessage):
    """Done, or why not."""

    connection_state: int = u8(8)


@message(27, "PAUSE", to_host=True, since=Version.V6_0, feature=Feature.PAUSE_RESUME)
class Pause(ControlMessage):
    """Send nothing after the response, until RESUME, UNLOAD or INITIATE_CONTACT."""


@message(28, "PAUSE_RESPONSE", to_host=False, since=Version.V6_0, feature=Feature.PAUSE_RESUME)
class PauseResponse(ControlMessage):
    """The last message before the pause."""


@message(29, "RESUME", to_host=True, since=Version.V6_0, feature=Feature.PAUSE_RESUME)
class Resume(ControlMessage):
    """Go on."""
