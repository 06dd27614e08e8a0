"""Connecting to the host: versions from the newest downwards (drivers/hv/connection.c ``vmbus_connect``)."""

from __future__ import annotations

import errno
from collections.abc import Callable

from guest.kernel.core import Core
from guest.vmbus.errors import VmbusError
from guest.vmbus.post import Poster
from guest.vmbus.requests import ChannelRequests
from guest.vmbus.words import VMBUS_CONNECT_CPU, ConnectionState, VmbusConnectionWords
from protocol.ids import PAGE_SIZE, VpIndex
from protocol.wire.hypercall import MESSAGE_CONNECTION, MULTI_CLIENT_CONNECTION
from protocol.wire.messages import InitiateContact, RequestOffers
from protocol.wire.synic import MESSAGE_SINT
from protocol.wire.versions import Version

VERSIONS = (
    Version.V5_3,
    Version.V5_2,
    Version.V5_1,
    Version.V5_0,
    Version.WIN10_RS3,
    Version.WIN10,
    Version.WIN8_1,
    Version.WIN8,
)
"""``vmbus_versions``, in the order in which they are tried."""

FIRST_GPADL = 0xE1E10


class Contact:
    """``vmbus_connect`` on the connect CPU; no time-out, as in Linux."""

    def __init__(
        self,
        core: Core,
        words: VmbusConnectionWords,
        requests: ChannelRequests,
        poster: Poster,
        max_version: Version,
        printk: Callable[[str], None],
    ) -> None:
        self._core = core
        self._words = words
        self._requests = requests
        self._poster = poster
        self._max_version = max_version
        self._printk = printk

    async def connect(self) -> Version:
        """The highest version that both sides have. Raises EDOM if there is none.

        ``max_version`` is the module parameter. The pages given to the host (interrupt page below 5.0, monitor pages)
        are never used: from Windows 8 on it has the event flags, and no offer here has a monitor.
        """
        words = self._words
        words.conn_state = ConnectionState.CONNECTING
        words.next_gpadl_handle = FIRST_GPADL
        int_page = self._core.pages.allocate() * PAGE_SIZE
        monitors = self._core.pages.allocate() * PAGE_SIZE, self._core.pages.allocate() * PAGE_SIZE
        for version in VERSIONS:
            if version <= self._max_version and await self._negotiate(version, int_page, monitors):
                self._printk(f"hv_vmbus: Vmbus version:{version.text}")
                return version
        words.conn_state = ConnectionState.DISCONNECTED
        self._printk("hv_vmbus: Unable to connect to host")
        raise VmbusError(errno.EDOM, "no protocol version in common with the host")

    async def _negotiate(self, version: Version, int_page: int, monitors: tuple[int, int]) -> bool:
        """``vmbus_negotiate_version``. False: not this version, whether the host says so or cannot even be asked.

        ``connection_state`` in the answer is ignored, and from 5.0 on the connection id in it is used as it is.
        """
        words = self._words
        multi_client = version >= Version.V5_0
        words.version = version
        words.msg_conn_id = MULTI_CLIENT_CONNECTION if multi_client else MESSAGE_CONNECTION
        request = self._requests.add(InitiateContact)
        try:
            await self._poster.post(
                InitiateContact(
                    version,
                    VpIndex(VMBUS_CONNECT_CPU),
                    interrupt_page=0 if multi_client else int_page,
                    sint=MESSAGE_SINT,
                    parent_to_child_monitor=monitors[0],
                    child_to_parent_monitor=monitors[1],
                )
            )
            await request.waitevent.wait()
        except VmbusError:
            return False
        finally:
            self._requests.remove(request)
        supported = bool(request.words.status)
        if supported:
            words.conn_state = ConnectionState.CONNECTED
            if multi_client:
                words.msg_conn_id = request.words.value
        return supported

    async def request_offers(self) -> None:
        """``vmbus_request_offers``."""
        await self._poster.post(RequestOffers())
