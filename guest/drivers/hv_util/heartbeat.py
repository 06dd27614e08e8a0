"""Heartbeat: the host counts, the guest answers with one more (``heartbeat_onchannelcallback``)."""

from __future__ import annotations

from guest.drivers.hv_util.service import Reply, UtilService, UtilWords
from guest.kernel.memory import Word
from protocol.wire.guids import HV_HEART_BEAT_GUID
from protocol.wire.ic import Heartbeat, IcFrame, IcMessage, IcVersion

_SEQUENCE_BYTES = 8


class HeartbeatWords(UtilWords):
    """``answered`` counts heartbeats."""

    sequence = Word("channel callback")
    """The number last sent back."""


class HeartbeatService(UtilService[HeartbeatWords]):
    """``util_heartbeat``. The rest of the body goes back as it came."""

    class_id = HV_HEART_BEAT_GUID
    message_type = IcMessage.HEARTBEAT
    versions = (IcVersion(3, 0), IcVersion(1, 0))
    words = HeartbeatWords

    def respond(self, words: HeartbeatWords, frame: IcFrame) -> Reply:
        words.sequence = (Heartbeat.decode(frame.body).sequence + 1) % (1 << 64)
        return Reply(words.sequence.to_bytes(_SEQUENCE_BYTES, "little") + frame.body[_SEQUENCE_BYTES:])
