/*
 * Prints, as JSON, where the Linux headers that it is compiled against put the fields of every VMBus structure, and the
 * values of every VMBus constant. Numbers only. Run by header_layout.py.
 */
#include <linux/hyperv.h>
#include <asm/irq_vectors.h>

#include "gen_macros.h"

static void guid(const char *name, guid_t value)
{
	int i;

	printf("%s\n  \"%s\": \"", comma, name);
	for (i = 0; i < 16; i++)
		printf("%02x", value.b[i]);
	printf("\"");
	comma = ",";
}

#define G(constant)                                                                                                    \
	{                                                                                                                  \
		struct { guid_t guid; } holder = { constant };                                                                 \
		guid(#constant, holder.guid);                                                                                  \
	}

static void structures(void)
{
#include "gen_structures.inc"
}

static void constants(void)
{
#include "gen_constants.inc"
}

static void guids(void)
{
	G(HV_NIC_GUID) G(HV_IDE_GUID) G(HV_SCSI_GUID) G(HV_SHUTDOWN_GUID) G(HV_TS_GUID) G(HV_HEART_BEAT_GUID)
	G(HV_KVP_GUID) G(HV_DM_GUID) G(HV_MOUSE_GUID) G(HV_KBD_GUID) G(HV_VSS_GUID) G(HV_SYNTHVID_GUID)
	G(HV_SYNTHFC_GUID) G(HV_FCOPY_GUID) G(HV_ND_GUID) G(HV_PCIE_GUID)
	G(HV_AVMA1_GUID) G(HV_AVMA2_GUID) G(HV_RDV_GUID) G(HV_IMC_GUID)
}

int main(void)
{
	printf("{\"structs\": {");
	structures();
	printf("\n},\n\"constants\": {");
	comma = "";
	constants();
	printf("\n},\n\"guids\": {");
	comma = "";
	guids();
	printf("\n}}\n");
	return 0;
}
