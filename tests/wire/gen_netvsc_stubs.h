/* What drivers/net/hyperv/hyperv_net.h needs beside kernel_stubs.h. Nothing measured depends on it. */
#pragma once

#define __percpu
#define __rcu
#define __read_mostly
#define ETH_ALEN 6
#define ETH_MIN_MTU 68
#define MAX_SKB_FRAGS 17
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define rtnl_dereference(pointer) (pointer)

typedef struct { int counter; } atomic_t;
typedef struct { int stub; } wait_queue_head_t;
struct delayed_work { int stub; };
struct napi_struct { int stub; };
struct u64_stats_sync { int stub; };
struct xdp_rxq_info { int stub; };
struct flow_keys {
	struct { u16 n_proto; u8 ip_proto; } basic;
	struct { u32 v4addrs[2], v6addrs[8]; } addrs;
};
