"""The balloon as a kind of device."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from host.plain import STRICT
from host.vsp.balloon.balloon import Balloon
from host.vsp.kind import Kind, Setting
from host.vsp.periodic import Repeated
from protocol.wire.dynmem import PAGES_IN_2M, VERSIONS


@dataclass(frozen=True, slots=True, config=STRICT)
class BalloonOptions(Repeated):
    """``every``: seconds between transactions that nobody asks for, ``pages`` out and back in turn; 0: there are none.

    ``newest``: the newest version of the protocol that the host accepts.
    """

    pages: Annotated[int, Field(gt=0, multiple_of=PAGES_IN_2M)] = PAGES_IN_2M
    newest: int = VERSIONS[0]


def _make(setting: Setting, options: BalloonOptions) -> Balloon:
    return Balloon(setting.services, options.every / setting.time_scale, options.pages, options.newest)


BALLOON = Kind(BalloonOptions, _make, {"inflate": Balloon.inflate, "deflate": Balloon.deflate})
