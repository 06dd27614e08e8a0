"""Backup: the host freezes the guest's file systems and thaws them (``hv_vss_onchannelcallback``)."""

from __future__ import annotations

from guest.drivers.hv_util.service import Reply, UtilService, UtilWords
from guest.kernel.memory import Word
from protocol.wire.guids import HV_VSS_GUID
from protocol.wire.ic import IcFrame, IcMessage, IcVersion
from protocol.wire.vss import VssMessage, VssOperation


class VssWords(UtilWords):
    """``answered`` counts operations of all kinds."""

    freezes = Word("channel callback")
    thaws = Word("channel callback")


class VssService(UtilService[VssWords]):
    """``util_vss`` and its daemon, ``hv_vss_daemon``. Simplified: there is no file system to be frozen."""

    class_id = HV_VSS_GUID
    message_type = IcMessage.VSS
    versions = (IcVersion(5, 0),)
    words = VssWords

    def respond(self, words: VssWords, frame: IcFrame) -> Reply:
        """``vss_handle_request``: what is not known succeeds, too.

        After HOT_BACKUP ``vss_on_msg`` means to say VSS_HBU_NO_AUTO_RECOVERY, but looks for the operation where the
        daemon has put its result (a union of both), so the flags go back as they came.
        """
        asked = VssMessage.decode(frame.body)
        match asked.operation:
            case VssOperation.GET_DM_INFO:
                return Reply(VssMessage(asked.operation, 0).encode())
            case VssOperation.FREEZE:
                words.freezes += 1
            case VssOperation.THAW:
                words.thaws += 1
        return Reply(frame.body)
