"""What a driver from outside the tree may import (``#include <linux/hyperv.h>``). Everything else may move.

A driver is a class derived from ``HvDriver``, in a file that ``./launch.sh run --driver FILE`` loads. One object of it
is made on every CPU, each in a process of its own. From that follows the one rule: **what a driver must remember lives
in words**, declared like a C struct and shared by all CPUs::

    class EchoWords(Struct):
        echoed = Word("channel callback")         # each word with its one writer: a CPU, a context, or a lock

    words = channel.state(EchoWords)              # the same 64 words of the channel, whichever CPU asks

Python attributes are caches, set in ``__init__``; one that is set later is warned about, and one that a ``Struct`` does
not declare cannot be set.

Interrupt context (``onchannel_callback``, timers) is plain code and never waits. Process context (``probe``,
``remove``, ``sc_creation_callback``, tasks) is ``async def`` and waits for what the channel and ``self.core`` give it.
These are the members of ``self.core`` that a driver uses:

======================================== ==============================================================================
``cpu``, ``cpus``                        ``smp_processor_id()``, ``nr_cpu_ids``
``sleep(seconds)``                       ``msleep``
``wait_until(condition, seconds)``       for what an interrupt of this CPU makes true; False: it took too long
``completion(words)``                    ``struct completion`` in a Struct derived from ``CompletionWords``, for any CPU
``mutex(words)``, ``wait_queue(words)``  the same for ``MutexWords`` and ``WaitWords``
``locks.irqsave("driver", n)``           ``spin_lock_irqsave``, never held across an ``await``; n is yours, modulo 32
``sched.spawn(coroutine, name)``         ``kthread_run``: a task on this CPU
``call_later(seconds, function)``        ``mod_timer``: in interrupt context of this CPU; the result has ``cancel()``
``pages.allocate(n)``, ``pages.free``    ``alloc_pages``: contiguous page frames, to lend to the host
``buffer(first, n)``                     the bytes of such pages, and no byte more
``memory.one(Struct)``                   ``DEFINE``: words of the whole driver, in ``__init__`` only
======================================== ==============================================================================

``self.bus.printk(line)`` writes to the kernel log (``./launch.sh trace FILE --event printk``). Byte layouts of the real
devices are in ``protocol.wire``. A driver cannot see which interrupt design is on.
"""

from guest.kernel.memory import Array, Bytes, Struct, Text, Word
from guest.kernel.wait import CompletionWords, MutexWords, WaitWords
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import HvDriver, VmbusDevice
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import CallbackMode
from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE, Cpu, GpadlId, Pfn, Relid
from protocol.ring import COMPLETION_REQUESTED, Packet, PacketType
from protocol.wire.gpadl import GpaRange

__all__ = [
    "COMPLETION_REQUESTED",
    "PAGE_SIZE",
    "Array",
    "Bytes",
    "CallbackMode",
    "CompletionWords",
    "Cpu",
    "GpaRange",
    "GpadlId",
    "HvDriver",
    "MutexWords",
    "Packet",
    "PacketType",
    "PeerError",
    "Pfn",
    "Relid",
    "Struct",
    "Text",
    "VmbusChannel",
    "VmbusDevice",
    "VmbusError",
    "WaitWords",
    "Word",
]
