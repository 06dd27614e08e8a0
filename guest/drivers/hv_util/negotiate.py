"""Version negotiation of a service: the host lists, the guest chooses (``vmbus_prep_negotiate_resp``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protocol.wire.ic import IcVersion, Negotiate

FRAMEWORKS: Final = (IcVersion(3, 0), IcVersion(1, 0))
"""``fw_versions`` of hv_util.c."""
ANSWER_SIZE: Final = 0x10
"""``icmsgsize`` of every answer, also of one without versions."""


def choose(offered: Negotiate, versions: Sequence[IcVersion]) -> Negotiate:
    """One framework and one message version, each the first of this side's list that was offered, or neither.

    A service whose messages are not understood is refused together with the framework: the answer then counts zero
    versions of both, and the host leaves the service alone.
    """
    framework = _first(FRAMEWORKS, offered.frameworks)
    message = _first(versions, offered.messages)
    if framework is None or message is None:
        return Negotiate((), ())
    return Negotiate((framework,), (message,))


def encode_choice(choice: Negotiate) -> bytes:
    """The body of the answer."""
    return choice.encode().ljust(ANSWER_SIZE, b"\0")


def _first(ours: Sequence[IcVersion], theirs: Sequence[IcVersion]) -> IcVersion | None:
    return next((version for version in ours if version in theirs), None)
