"""What the integration services have in common: ``struct hv_util_service`` and the words of its channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar
from uuid import UUID

from guest.kernel.memory import Struct, Word
from protocol.wire.ic import IcFrame, IcMessage, IcStatus, IcVersion


class UtilWords(Struct):
    """Driver state of a service's channel. One callback runs at a time, so one CPU writes at a time."""

    framework = Word("channel callback")
    """Chosen framework version, major << 16 | minor as in ``fw_versions``; 0 before the negotiation."""
    version = Word("channel callback")
    """Chosen message version, in the same form (``hb_srv_version`` and its siblings)."""
    answered = Word("channel callback")
    """Messages answered, negotiations excluded: heartbeats, time samples or shutdown requests."""
    rejected = Word("channel callback")
    """Packets that are no frame, or of another service: logged by the kernel and not answered."""
    unsent = Word("channel callback")
    """Answers that found no room in the ring. hv_util does not look at the result of ``vmbus_sendpacket`` either."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back in the frame, and the work to be scheduled once it is on the ring."""

    body: bytes
    status: IcStatus = IcStatus.OK
    then: Callable[[], None] | None = None


W = TypeVar("W", bound=UtilWords)


class UtilService(ABC, Generic[W]):
    """One integration service of one CPU; what it must remember is in the words of the channel."""

    class_id: ClassVar[UUID]
    message_type: ClassVar[IcMessage]
    versions: ClassVar[tuple[IcVersion, ...]]
    """Message versions this side speaks, best first."""
    words: type[W]

    @abstractmethod
    def respond(self, words: W, frame: IcFrame) -> Reply:
        """Answer one message of the service, in softirq context. Raises PeerError for a body that is too short."""
