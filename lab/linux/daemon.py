"""A daemon of hv_utils, played by a shell: it registers, and then gives prepared answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lab.linux.vm import LinuxVm


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a daemon and the kernel exchange: messages of one size, and the first byte of the one that registers."""

    device: str
    size: int
    register: int

    @property
    def registration(self) -> bytes:
        return bytes([self.register]).ljust(self.size, b"\0")


KVP: Final = Protocol("hv_kvp", 7432, 100)
"""``struct hv_kvp_msg``, ``KVP_OP_REGISTER1``."""
VSS: Final = Protocol("hv_vss", 12, 129)
"""``struct hv_vss_msg``, ``VSS_OP_REGISTER1``."""


async def play(vm: LinuxVm, protocol: Protocol, answers: Sequence[bytes]) -> None:
    """Open the device in /dev/vmbus, say who we are, hear the kernel's confirmation, answer each question in turn.

    One message is one read or write (``hvt_op_read``, ``hvt_op_write``). Returns when the daemon is registered.
    """
    device, size = protocol.device, protocol.size
    for number, data in enumerate((protocol.registration, *answers)):
        assert len(data) == size
        await vm.write_file(f"/tmp/{device}.{number}", data)
    await vm.run(
        f"""rm -f /tmp/{device}.ready
        (
            exec 3<>/dev/vmbus/{device}
            dd if=/tmp/{device}.0 bs={size} >&3
            dd bs={size} count=1 <&3 >/dev/null
            touch /tmp/{device}.ready
            for number in $(seq {len(answers)}); do
                dd bs={size} count=1 <&3 >/tmp/{device}.question.$number
                dd if=/tmp/{device}.$number bs={size} >&3
            done
        ) >/dev/null 2>&1 &
        until [ -e /tmp/{device}.ready ]; do sleep 0.01; done"""
    )
