"""The messages that lend guest memory to the host: the GPADL, guest physical address descriptor list."""

from protocol.ids import GpadlId, Relid
from protocol.wire.control import ControlMessage, message
from protocol.wire.fields import u16, u32, words


@message(8, "GPADL_HEADER", to_host=True)
class GpadlHeader(ControlMessage):
    """Lend these pages. ``words`` is the range buffer: per range a word {count, offset << 32} and its page numbers.

    ``range_buflen`` is the byte length of the whole range buffer, over this and all following bodies. The words begin
    at offset 20 and so are not aligned in the message.
    """

    relid: Relid = u32(8)
    gpadl: GpadlId = u32(12)
    range_buflen: int = u16(16)
    range_count: int = u16(18)
    words: tuple[int, ...] = words(20)


@message(9, "GPADL_BODY", to_host=True)
class GpadlBody(ControlMessage):
    """More words for the GPADL whose header came before. Servers go by the order of arrival, not by the number."""

    message_number: int = u32(8)
    gpadl: GpadlId = u32(12)
    words: tuple[int, ...] = words(16)


@message(10, "GPADL_CREATED", to_host=False)
class GpadlCreated(ControlMessage):
    """The GPADL may be used (status 0) or was refused. Linux looks for the waiting request by both ids."""

    relid: Relid = u32(8)
    gpadl: GpadlId = u32(12)
    status: int = u32(16)


@message(11, "GPADL_TEARDOWN", to_host=True)
class GpadlTeardown(ControlMessage):
    """Give the pages back."""

    relid: Relid = u32(8)
    gpadl: GpadlId = u32(12)


@message(12, "GPADL_TORNDOWN", to_host=False)
class GpadlTorndown(ControlMessage):
    """The host's promise never to touch the pages again: the guest frees them on receipt."""

    gpadl: GpadlId = u32(8)
