"""Host behaviours that differ between hosts, or that a scenario wants to be bad.  Each one says whose it is."""

import math
from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic.dataclasses import dataclass

from host.plain import STRICT
from protocol.wire.messages import NtStatus
from protocol.wire.versions import Version

UNTIL_RELEASED: Final = math.inf
"""As a delay: until ``VmbusServer.release`` says so."""

LOOK_AFTER_OPEN_SECONDS: Final = 0.1
"""OpenVMM, ``vmbus_server``: how long after an open it looks at both rings."""


class Step(Enum):
    """What a slow host can take its time over."""

    OPEN = "open"
    """Between opening the device and OPENCHANNEL_RESULT: the guest may be interrupted before it sees the result."""
    GPADL = "gpadl"
    """Between the last piece of a GPADL and GPADL_CREATED."""
    MODIFY = "modify"
    """Between MODIFYCHANNEL and its effect: until then signals go to the old VP, and the answer comes right after."""


class ModifyAnswer(Enum):
    """What the host does with the MODIFYCHANNEL of an open channel."""

    ANSWER = "answer"
    """Move the channel and, from 5.3, say so."""
    REFUSE = "refuse"
    """Do not move it; from 5.3, answer ``HostOptions.modify_status``."""
    IGNORE = "ignore"
    """Do not move it and do not answer either, whatever the version."""


def _version(value: Any) -> Any:
    """As "5.3" in a VM file."""
    if isinstance(value, str):
        known = {version.text: version for version in Version}
        if value not in known:
            raise ValueError(f"there is no VMBus version '{value}'; there are {', '.join(known)}")
        return known[value]
    return value


VersionText = Annotated[
    Version,
    BeforeValidator(_version),
    WithJsonSchema({"enum": [version.text for version in Version]}),
]


@dataclass(frozen=True, slots=True, config=STRICT)
class HostOptions:
    """The defaults are OpenVMM's behaviour, except that nothing rescues a lost interrupt.

    ``delay``: the seconds that the host takes over a step; inf: it never comes to its end.
    """

    max_version: VersionText = Version.V6_0
    """The newest version the server agrees to; the oldest is Windows 8, since the interrupt page is not modelled."""

    multi_client_port: bool = True
    """Whether message connection 4 exists.  Without it Linux falls back to 4.1 and connection 1."""

    modify: ModifyAnswer = ModifyAnswer.ANSWER
    modify_status: Annotated[int, Field(ge=0, lt=1 << 32)] = NtStatus.UNSUCCESSFUL

    answer_modify_of_closed: bool = True
    """From 5.3, answer the MODIFYCHANNEL of a channel that is not open with a failure (OpenVMM).  Of Hyper-V it is
    known only that it ignores such a message (RFC "Hyper-V guests use Linux IRQs for channel interrupts", patch 10)."""

    answer_modify_overtaken: bool = False
    """From 5.3, answer a MODIFYCHANNEL whose channel was closed or rescinded before the host got round to it, with a
    failure.  OpenVMM does not; a guest that counts answers then waits in vain."""

    queue_overlapping_modify: bool = False
    """From 5.3, work through MODIFYCHANNELs that come before the answer to the last one, in order, and answer each.
    OpenVMM ignores them: they break the protocol."""

    delay: Mapping[Step, Annotated[float, Field(ge=0)]] = field(default_factory=dict)
    """Seconds, or UNTIL_RELEASED, by step; at once if not named."""

    look_after_open: bool = False
    """OpenVMM's safety net: some time after an open, wake each side that has something in its ring.  Off, because it
    hides the loss of an interrupt."""

    @property
    def needs_clock(self) -> bool:
        """Whether something is to happen by itself after a while."""
        return self.look_after_open or any(0 < seconds < UNTIL_RELEASED for seconds in self.delay.values())
