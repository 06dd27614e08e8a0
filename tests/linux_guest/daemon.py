"""A daemon of hv_utils, played by a shell: it registers, and then gives prepared answers."""

from __future__ import annotations

from collections.abc import Sequence

from lab.linux.vm import LinuxVm


async def play(vm: LinuxVm, device: str, registration: bytes, answers: Sequence[bytes]) -> None:
    """Open ``/dev/vmbus/<device>``, say who we are, hear the kernel's confirmation, answer each question in turn.

    One message is one read or write (``hvt_op_read``, ``hvt_op_write``). Returns when the daemon is registered.
    """
    size = len(registration)
    for number, data in enumerate((registration, *answers)):
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
