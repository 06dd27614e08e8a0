"""Which key to press for a character: scan code set 1 of a US keyboard."""

from typing import Final

from protocol.errors import OperatorError

LEFT_SHIFT: Final = 0x2A

_ROWS: Final = (
    (0x02, "1234567890-=", "!@#$%^&*()_+"),
    (0x10, "qwertyuiop[]\n", "QWERTYUIOP{}"),
    (0x1E, "asdfghjkl;'`", 'ASDFGHJKL:"~'),
    (0x2B, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (0x39, " ", ""),
    (0x0F, "\t", ""),
    (0x0E, "\b", ""),
)
_PLAIN: Final = {character: first + at for first, plain, _ in _ROWS for at, character in enumerate(plain)}
_SHIFTED: Final = {character: first + at for first, _, shifted in _ROWS for at, character in enumerate(shifted)}


def key_for(character: str) -> tuple[int, bool]:
    """(scan code, whether shift is held). Raises OperatorError for what no key of this keyboard makes."""
    code = _PLAIN.get(character)
    if code is not None:
        return code, False
    code = _SHIFTED.get(character)
    if code is None:
        raise OperatorError(f"no key types {character!r}: use what a US keyboard has")
    return code, True
