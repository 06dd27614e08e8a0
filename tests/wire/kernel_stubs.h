/*
 * What linux/hyperv.h needs of the rest of the kernel so that a user-space compiler takes it. Only the sizes of fixed
 * width types matter; everything else exists by name alone, and nothing measured depends on it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8, __u8;
typedef uint16_t u16, __u16;
typedef uint32_t u32, __u32;
typedef uint64_t u64, __u64;
typedef int32_t s32, __s32;
typedef int64_t s64, __s64;
typedef u64 dma_addr_t, phys_addr_t, resource_size_t;
typedef struct { u8 b[16]; } guid_t;
typedef guid_t uuid_le;

#define GUID_INIT(a, b, c, d0, d1, d2, d3, d4, d5, d6, d7)                                                             \
	{{(a) & 0xff, ((a) >> 8) & 0xff, ((a) >> 16) & 0xff, ((a) >> 24) & 0xff, (b) & 0xff, ((b) >> 8) & 0xff,            \
	  (c) & 0xff, ((c) >> 8) & 0xff, d0, d1, d2, d3, d4, d5, d6, d7}}

#define __packed __attribute__((packed))
#define __aligned(n) __attribute__((aligned(n)))
#define __must_check
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define GENMASK_ULL(high, low) (((~0ULL) << (low)) & (~0ULL >> (63 - (high))))
#define U32_MAX ((u32)~0U)
#define U64_MAX ((u64)~0ULL)
#define PAGE_SIZE 4096UL
#define IS_ENABLED(option) 1
#define container_of(pointer, type, member) ((type *)(pointer))
#define READ_ONCE(x) (x)

struct list_head { int stub; };
struct completion { int stub; };
struct mutex { int stub; };
struct reciprocal_value { int stub; };
struct tasklet_struct { int stub; };
struct work_struct { int stub; };
struct rcu_head { int stub; };
struct kobject { int stub; };
struct device { int stub; };
struct device_driver { int stub; };
struct device_dma_parameters { int stub; };
typedef struct { int stub; } spinlock_t;
