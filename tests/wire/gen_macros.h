/*
 * How the generators print: OPEN, F (field), TAIL, BITS, B (bit field), CLOSE for a structure, C for a constant.
 *
 * A bit field has no offsetof: it is filled with ones in a zeroed structure, and the ones are looked for.
 */
#pragma once

#include <stdio.h>
#include <string.h>

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
