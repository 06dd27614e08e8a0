/*
 * Prints, as JSON, where the Linux headers that it is compiled against put the fields of every VMBus structure, and the
 * values of every VMBus constant. Numbers only. Run by header_layout.py.
 *
 * A bit field has no offsetof: it is filled with ones in a zeroed structure, and the ones are looked for.
 */
#include <stdio.h>
#include <string.h>

#include <linux/hyperv.h>
#include <asm/irq_vectors.h>

static const char *comma = "";

static void first_and_width(const void *object, size_t size, int *first, int *width)
{
	const u8 *bytes = object;
	size_t bit;

	*first = -1;
	*width = 0;
	for (bit = 0; bit < 8 * size; bit++) {
		if (!(bytes[bit / 8] >> (bit % 8) & 1))
			continue;
		if (*first < 0)
			*first = bit;
		++*width;
	}
}

static void guid(const char *name, guid_t value)
{
	int i;

	printf("%s\n  \"%s\": \"", comma, name);
	for (i = 0; i < 16; i++)
		printf("%02x", value.b[i]);
	printf("\"");
	comma = ",";
}

#define OPEN(kind, tag)                                                                                                \
	{                                                                                                                  \
		typedef kind tag T;                                                                                            \
		const char *between = "";                                                                                      \
		printf("%s\n  \"%s\": {\"size\": %zu, \"fields\": {", comma, #tag, sizeof(T));                                 \
		comma = ",";
#define F(field)                                                                                                       \
		printf("%s\"%s\": [%zu, %zu]", between, #field, offsetof(T, field), sizeof(((T *)0)->field));                  \
		between = ", ";
/* A flexible array has no size: written as 0. */
#define TAIL(field)                                                                                                    \
		printf("%s\"%s\": [%zu, 0]", between, #field, offsetof(T, field));                                             \
		between = ", ";
#define BITS                                                                                                           \
		printf("}, \"bits\": {");                                                                                      \
		between = "";
#define B(field)                                                                                                       \
		{                                                                                                              \
			T object;                                                                                                  \
			int first, width;                                                                                          \
			memset(&object, 0, sizeof(object));                                                                        \
			object.field = ~0ULL;                                                                                      \
			first_and_width(&object, sizeof(object), &first, &width);                                                  \
			printf("%s\"%s\": [%d, %d]", between, #field, first, width);                                               \
			between = ", ";                                                                                            \
		}
#define CLOSE                                                                                                          \
		printf("}}");                                                                                                  \
	}

#define C(constant)                                                                                                    \
	printf("%s\n  \"%s\": %llu", comma, #constant, (unsigned long long)(constant));                                    \
	comma = ",";
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
