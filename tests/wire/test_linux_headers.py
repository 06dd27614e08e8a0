"""The committed numbers are those of the headers, and nothing in the headers has been left out."""

import json
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from tests.wire.header_layout import NETVSC, VARIABLE, VMBUS, find_headers, measure, names_declared

KERNEL_OWN = {
    # Objects that exist in the guest's memory only, and what counts or bounds them.
    "hv_device",
    "hv_driver",
    "hv_dma_range",
    "hv_ring_buffer_info",
    "hv_ring_buffer_debug_info",
    "hv_util_service",
    "hv_gpadl_type",
    "hyperv_pci_block_ops",
    "hyperv_service_callback",
    "vmbus_channel",
    "vmbus_channel_msginfo",
    "vmbus_channel_state",
    "vmbus_close_msg",
    "vmbus_device",
    "vmbus_gpadl",
    "vmbus_requestor",
    "vmpacket_largest_possible_header",
    "MAX_SRV_VER",
    "VMBUS_DEFAULT_MAX_PKT_SIZE",
    "HV_CONFIG_BLOCK_SIZE_MAX",
    "NR_HV_HYP_PAGES_IN_PAGE",
    "VMBUS_NO_RQSTOR",
    "VMBUS_RQST_ERROR",
    "VMBUS_RQST_ADDR_ANY",
    # Enumerations, whose members are measured one by one.
    "vmbus_channel_message_type",
    "vmbus_packet_type",
    "vmbus_device_type",
}
"""What linux/hyperv.h declares that never crosses the wire."""


@pytest.fixture
def headers() -> Path:
    if shutil.which("gcc") is None:
        give_up("gcc is not installed")
    found = find_headers()
    if found is None:
        give_up(f"linux-headers-6.1*-common is not installed (or name the header tree in {VARIABLE})")
    return found


def give_up(reason: str) -> NoReturn:
    """Without a judge there is no verdict; continuous integration has one."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def test_the_committed_layout_is_what_the_headers_say(headers: Path) -> None:
    assert measure(VMBUS, headers) == json.loads(VMBUS.committed.read_text())


def test_the_committed_layout_of_netvsc_is_what_its_driver_says(headers: Path) -> None:
    missing = [origin for origin in NETVSC.headers.values() if not (headers / origin).exists()]
    if missing:
        give_up(f"{headers} has no {missing[0]}: name a whole kernel source in {VARIABLE}")
    assert measure(NETVSC, headers) == json.loads(NETVSC.committed.read_text())


def test_every_name_in_hyperv_h_is_measured_or_the_kernels_own(headers: Path) -> None:
    committed = json.loads(VMBUS.committed.read_text())
    measured = {name for section in committed.values() for name in section}
    assert names_declared(headers) - measured == KERNEL_OWN
