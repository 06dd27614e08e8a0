"""What kinds of devices there are: class GUIDs under the kernel's names, and what the VMBus driver knows of each.

GUIDs are in linux/hyperv.h; which are performance-critical or allowed in an isolated VM is in ``vmbus_devs``
(drivers/hv/channel_mgmt.c); default IRQ names come from patch 3 of the RFC "hv: Make each VMBus channel an IRQ".
"""

from dataclasses import dataclass
from uuid import UUID

HV_NIC_GUID = UUID("f8615163-df3e-46c5-913f-f2d2f965ed0e")
HV_IDE_GUID = UUID("32412632-86cb-44a2-9b5c-50d1417354f5")
HV_SCSI_GUID = UUID("ba6163d9-04a1-4d29-b605-72e2ffb1dc7f")
HV_SHUTDOWN_GUID = UUID("0e0b6031-5213-4934-818b-38d90ced39db")
HV_TS_GUID = UUID("9527e630-d0ae-497b-adce-e80ab0175caf")
HV_HEART_BEAT_GUID = UUID("57164f39-9115-4e78-ab55-382f3bd5422d")
HV_KVP_GUID = UUID("a9a0f4e7-5a45-4d96-b827-8a841e8c03e6")
HV_DM_GUID = UUID("525074dc-8985-46e2-8057-a307dc18a502")
HV_MOUSE_GUID = UUID("cfa8b69e-5b4a-4cc0-b98b-8ba1a1f3f95a")
HV_KBD_GUID = UUID("f912ad6d-2b17-48ea-bd65-f927a61c7684")
HV_VSS_GUID = UUID("35fa2e29-ea23-4236-96ae-3a6ebacba440")
HV_SYNTHVID_GUID = UUID("da0a7802-e377-4aac-8e77-0558eb1073f8")
HV_SYNTHFC_GUID = UUID("2f9bcc4a-0069-4af3-b76b-6fd0be528cda")
HV_FCOPY_GUID = UUID("34d14be3-dee4-41c8-9ae7-6b174977c192")
HV_ND_GUID = UUID("8c2eaf3d-32a7-4b09-ab99-bd1f1c86b501")
HV_PCIE_GUID = UUID("44c4f61d-4444-4400-9d52-802e27ede19f")

HV_AVMA1_GUID = UUID("f8e65716-3cb3-4a06-9a60-1889c5cccab5")
HV_AVMA2_GUID = UUID("3375baf4-9e15-4b30-b765-67acb10d607b")
HV_RDV_GUID = UUID("276aacf4-ac15-426c-98dd-7521ad3f01fe")
HV_IMC_GUID = UUID("c376c1c3-d276-48d2-90a9-c04748072c60")

UNSUPPORTED = frozenset({HV_AVMA1_GUID, HV_AVMA2_GUID, HV_RDV_GUID, HV_IMC_GUID})
"""Windows-only: Hyper-V offers them to every guest, and Linux drops the offer (``vmbus_unsupported_devs``)."""


@dataclass(frozen=True, slots=True)
class DeviceType:
    """A row of the kernel's table. ``perf``: its channels are spread over the CPUs; others stay on the connect CPU."""

    name: str
    class_id: UUID | None
    perf: bool
    allowed_isolated: bool
    irq_name: str


DEVICE_TYPES = (
    DeviceType("IDE", HV_IDE_GUID, True, False, "storvsc"),
    DeviceType("SCSI", HV_SCSI_GUID, True, True, "storvsc"),
    DeviceType("FC", HV_SYNTHFC_GUID, True, False, "storvsc"),
    DeviceType("NIC", HV_NIC_GUID, True, True, "netvsc"),
    DeviceType("ND", HV_ND_GUID, True, False, "netdirect"),
    DeviceType("PCIE", HV_PCIE_GUID, False, True, "vpci"),
    DeviceType("FB", HV_SYNTHVID_GUID, False, False, "framebuffer"),
    DeviceType("KBD", HV_KBD_GUID, False, False, "keyboard"),
    DeviceType("MOUSE", HV_MOUSE_GUID, False, False, "mouse"),
    DeviceType("KVP", HV_KVP_GUID, False, False, "kvp"),
    DeviceType("TS", HV_TS_GUID, False, True, "timesync"),
    DeviceType("HB", HV_HEART_BEAT_GUID, False, True, "heartbeat"),
    DeviceType("SHUTDOWN", HV_SHUTDOWN_GUID, False, True, "shutdown"),
    DeviceType("FCOPY", HV_FCOPY_GUID, False, False, "fcopy"),
    DeviceType("BACKUP", HV_VSS_GUID, False, False, "vss"),
    DeviceType("DM", HV_DM_GUID, False, False, "balloon"),
)
"""In the order of ``enum vmbus_device_type``."""

HV_SOCK = DeviceType("HV_SOCK", None, False, True, "hv_sock")
"""Any class GUID, recognised by the flag TLNPI_PROVIDER_OFFER."""
UNKNOWN = DeviceType("UNKNOWN", None, False, False, "")

_BY_CLASS = {each.class_id: each for each in DEVICE_TYPES}


def device_type(class_id: UUID, tlnpi: bool = False) -> DeviceType:
    """The kind of device that an offer is (``hv_get_dev_type``); UNKNOWN if the kernel has never heard of it."""
    return HV_SOCK if tlnpi else _BY_CLASS.get(class_id, UNKNOWN)
