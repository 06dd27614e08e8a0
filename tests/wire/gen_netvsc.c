/*
 * Prints, as JSON, where the netvsc driver's own header puts the fields of NVSP, RNDIS and NDIS structures, and the
 * values of their constants. Numbers only. Run by header_layout.py.
 */
#include "gen_netvsc_stubs.h"
#include <hyperv_net.h>

#include "gen_macros.h"

static void structures(void)
{
OPEN(struct, nvsp_message) F(hdr) F(msg) BITS CLOSE
OPEN(struct, nvsp_message_init) F(min_protocol_ver) F(max_protocol_ver) BITS CLOSE
OPEN(struct, nvsp_message_init_complete) F(negotiated_protocol_ver) F(max_mdl_chain_len) F(status) BITS CLOSE
OPEN(struct, nvsp_1_message_send_ndis_version) F(ndis_major_ver) F(ndis_minor_ver) BITS CLOSE
OPEN(struct, nvsp_1_message_send_receive_buffer) F(gpadl_handle) F(id) BITS CLOSE
OPEN(struct, nvsp_1_message_send_receive_buffer_complete)
	F(status) F(num_sections) F(sections[0].offset) F(sections[0].sub_alloc_size) F(sections[0].num_sub_allocs)
	F(sections[0].end_offset) BITS CLOSE
OPEN(struct, nvsp_1_message_revoke_receive_buffer) F(id) BITS CLOSE
OPEN(struct, nvsp_1_message_send_send_buffer) F(gpadl_handle) F(id) BITS CLOSE
OPEN(struct, nvsp_1_message_send_send_buffer_complete) F(status) F(section_size) BITS CLOSE
OPEN(struct, nvsp_1_message_revoke_send_buffer) F(id) BITS CLOSE
OPEN(struct, nvsp_1_message_send_rndis_packet)
	F(channel_type) F(send_buf_section_index) F(send_buf_section_size) BITS CLOSE
OPEN(struct, nvsp_1_message_send_rndis_packet_complete) F(status) BITS CLOSE
OPEN(struct, nvsp_2_send_ndis_config) F(mtu) F(reserved) F(capability) BITS CLOSE
OPEN(struct, nvsp_2_vsc_capability)
	F(data) BITS B(vmq) B(chimney) B(sriov) B(ieee8021q) B(correlation_id) B(teaming) B(vsubnetid) B(rsc) CLOSE
OPEN(struct, nvsp_4_send_vf_association) F(allocated) F(serial) BITS CLOSE
OPEN(struct, nvsp_4_sw_datapath) F(active_datapath) BITS CLOSE
OPEN(struct, nvsp_5_subchannel_request) F(op) F(num_subchannels) BITS CLOSE
OPEN(struct, nvsp_5_subchannel_complete) F(status) F(num_subchannels) BITS CLOSE
OPEN(struct, nvsp_5_send_indirect_table) F(count) F(offset) BITS CLOSE
OPEN(union, nvsp_6_message_uber) BITS CLOSE

OPEN(struct, rndis_message) F(ndis_msg_type) F(msg_len) F(msg) BITS CLOSE
OPEN(struct, rndis_initialize_request) F(req_id) F(major_ver) F(minor_ver) F(max_xfer_size) BITS CLOSE
OPEN(struct, rndis_initialize_complete)
	F(req_id) F(status) F(major_ver) F(minor_ver) F(dev_flags) F(medium) F(max_pkt_per_msg) F(max_xfer_size)
	F(pkt_alignment_factor) F(af_list_offset) F(af_list_size) BITS CLOSE
OPEN(struct, rndis_halt_request) F(req_id) BITS CLOSE
OPEN(struct, rndis_query_request) F(req_id) F(oid) F(info_buflen) F(info_buf_offset) F(dev_vc_handle) BITS CLOSE
OPEN(struct, rndis_query_complete) F(req_id) F(status) F(info_buflen) F(info_buf_offset) BITS CLOSE
OPEN(struct, rndis_set_request)
	F(req_id) F(oid) F(info_buflen) F(info_buf_offset) F(dev_vc_handle) BITS CLOSE
OPEN(struct, rndis_set_complete) F(req_id) F(status) BITS CLOSE
OPEN(struct, rndis_reset_request) F(reserved) BITS CLOSE
OPEN(struct, rndis_reset_complete) F(status) F(addressing_reset) BITS CLOSE
OPEN(struct, rndis_indicate_status) F(status) F(status_buflen) F(status_buf_offset) BITS CLOSE
OPEN(struct, rndis_keepalive_request) F(req_id) BITS CLOSE
OPEN(struct, rndis_keepalive_complete) F(req_id) F(status) BITS CLOSE
OPEN(struct, rndis_packet)
	F(data_offset) F(data_len) F(oob_data_offset) F(oob_data_len) F(num_oob_data_elements) F(per_pkt_info_offset)
	F(per_pkt_info_len) F(vc_handle) F(reserved) BITS CLOSE
OPEN(struct, rndis_per_packet_info) F(size) F(ppi_offset) BITS B(type) B(internal) CLOSE
OPEN(struct, ndis_tcp_ip_checksum_info)
	F(value) BITS B(transmit.is_ipv4) B(transmit.is_ipv6) B(transmit.tcp_checksum) B(transmit.udp_checksum)
	B(transmit.ip_header_checksum) B(transmit.tcp_header_offset) B(receive.tcp_checksum_failed)
	B(receive.udp_checksum_failed) B(receive.ip_checksum_failed) B(receive.tcp_checksum_succeeded)
	B(receive.udp_checksum_succeeded) B(receive.ip_checksum_succeeded) B(receive.loopback)
	B(receive.tcp_checksum_value_invalid) B(receive.ip_checksum_value_invalid) CLOSE
OPEN(struct, ndis_tcp_lso_info)
	F(value) BITS B(lso_v2_transmit.mss) B(lso_v2_transmit.tcp_header_offset) B(lso_v2_transmit.type)
	B(lso_v2_transmit.ip_version) CLOSE
OPEN(struct, ndis_pkt_8021q_info) F(value) BITS B(pri) B(cfi) B(vlanid) CLOSE

OPEN(struct, ndis_recv_scale_cap)
	F(hdr.type) F(hdr.rev) F(hdr.size) F(cap_flag) F(num_int_msg) F(num_recv_que) F(num_indirect_tabent) BITS CLOSE
OPEN(struct, ndis_recv_scale_param)
	F(hdr.type) F(hdr.rev) F(hdr.size) F(flag) F(base_cpu_number) F(hashinfo) F(indirect_tabsize) F(indirect_taboffset)
	F(hashkey_size) F(hashkey_offset) BITS CLOSE
OPEN(struct, ndis_offload)
	F(header.type) F(header.revision) F(header.size) F(csum.ip4_txenc) F(csum.ip4_txcsum) F(csum.ip4_rxenc)
	F(csum.ip4_rxcsum) F(csum.ip6_txenc) F(csum.ip6_txcsum) F(csum.ip6_rxenc) F(csum.ip6_rxcsum) F(lsov2.ip4_encap)
	F(lsov2.ip4_maxsz) F(lsov2.ip4_minsg) F(lsov2.ip6_encap) F(lsov2.ip6_maxsz) F(lsov2.ip6_minsg) F(lsov2.ip6_opts)
	F(flags) F(rsc.ip4) F(rsc.ip6) BITS CLOSE
OPEN(struct, ndis_offload_params)
	F(header.type) F(header.revision) F(header.size) F(ip_v4_csum) F(tcp_ip_v4_csum) F(udp_ip_v4_csum)
	F(tcp_ip_v6_csum) F(udp_ip_v6_csum) F(lso_v1) F(ip_sec_v1) F(lso_v2_ipv4) F(lso_v2_ipv6) BITS CLOSE
}

static void constants(void)
{
C(NVSP_PROTOCOL_VERSION_1) C(NVSP_PROTOCOL_VERSION_2) C(NVSP_PROTOCOL_VERSION_4) C(NVSP_PROTOCOL_VERSION_5)
C(NVSP_PROTOCOL_VERSION_6) C(NVSP_PROTOCOL_VERSION_61)
C(NVSP_MSG_TYPE_INIT) C(NVSP_MSG_TYPE_INIT_COMPLETE) C(NVSP_MSG1_TYPE_SEND_NDIS_VER) C(NVSP_MSG1_TYPE_SEND_RECV_BUF)
C(NVSP_MSG1_TYPE_SEND_RECV_BUF_COMPLETE) C(NVSP_MSG1_TYPE_REVOKE_RECV_BUF) C(NVSP_MSG1_TYPE_SEND_SEND_BUF)
C(NVSP_MSG1_TYPE_SEND_SEND_BUF_COMPLETE) C(NVSP_MSG1_TYPE_REVOKE_SEND_BUF) C(NVSP_MSG1_TYPE_SEND_RNDIS_PKT)
C(NVSP_MSG1_TYPE_SEND_RNDIS_PKT_COMPLETE) C(NVSP_MSG2_TYPE_SEND_NDIS_CONFIG) C(NVSP_MSG4_TYPE_SEND_VF_ASSOCIATION)
C(NVSP_MSG4_TYPE_SWITCH_DATA_PATH) C(NVSP_MSG5_TYPE_SUBCHANNEL) C(NVSP_MSG5_TYPE_SEND_INDIRECTION_TABLE)
C(NVSP_STAT_NONE) C(NVSP_STAT_SUCCESS) C(NVSP_STAT_FAIL) C(NVSP_STAT_PROTOCOL_TOO_NEW) C(NVSP_STAT_PROTOCOL_TOO_OLD)
C(NVSP_STAT_INVALID_RNDIS_PKT) C(NVSP_STAT_BUSY) C(NVSP_STAT_PROTOCOL_UNSUPPORTED)
C(NVSP_DATAPATH_SYNTHETIC) C(NVSP_DATAPATH_VF) C(NVSP_SUBCHANNEL_ALLOCATE)
C(NETVSC_RECEIVE_BUFFER_ID) C(NETVSC_SEND_BUFFER_ID) C((u32)NETVSC_INVALID_INDEX) C(VRSS_SEND_TAB_SIZE)
C(VRSS_CHANNEL_MAX) C(NVSP_INVALID_PROTOCOL_VERSION)

C(RNDIS_MSG_COMPLETION) C(RNDIS_MSG_PACKET) C(RNDIS_MSG_INIT) C(RNDIS_MSG_INIT_C) C(RNDIS_MSG_HALT) C(RNDIS_MSG_QUERY)
C(RNDIS_MSG_QUERY_C) C(RNDIS_MSG_SET) C(RNDIS_MSG_SET_C) C(RNDIS_MSG_RESET) C(RNDIS_MSG_RESET_C) C(RNDIS_MSG_INDICATE)
C(RNDIS_MSG_KEEPALIVE) C(RNDIS_MSG_KEEPALIVE_C)
C(RNDIS_STATUS_SUCCESS) C(RNDIS_STATUS_MEDIA_CONNECT) C(RNDIS_STATUS_MEDIA_DISCONNECT)
C(RNDIS_STATUS_LINK_SPEED_CHANGE) C(RNDIS_STATUS_NETWORK_CHANGE) C(RNDIS_STATUS_FAILURE) C(RNDIS_STATUS_NOT_SUPPORTED)
C(RNDIS_STATUS_INVALID_DATA)
C(RNDIS_MAJOR_VERSION) C(RNDIS_MINOR_VERSION) C(RNDIS_DF_CONNECTIONLESS) C(RNDIS_MEDIUM_802_3)
C(RNDIS_MEDIA_STATE_CONNECTED) C(RNDIS_MEDIA_STATE_DISCONNECTED)
C(TCPIP_CHKSUM_PKTINFO) C(TCP_LARGESEND_PKTINFO) C(IEEE_8021Q_INFO) C(NBL_HASH_VALUE) C(RNDIS_PKTINFO_ID)
C(NDIS_PACKET_TYPE_DIRECTED) C(NDIS_PACKET_TYPE_MULTICAST) C(NDIS_PACKET_TYPE_ALL_MULTICAST)
C(NDIS_PACKET_TYPE_BROADCAST) C(NDIS_PACKET_TYPE_PROMISCUOUS)

C(RNDIS_OID_GEN_MAXIMUM_FRAME_SIZE) C(RNDIS_OID_802_3_PERMANENT_ADDRESS) C(RNDIS_OID_GEN_FRIENDLY_NAME)
C(OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES) C(OID_TCP_OFFLOAD_PARAMETERS) C(RNDIS_OID_GEN_MEDIA_CONNECT_STATUS)
C(RNDIS_OID_GEN_LINK_SPEED) C(OID_GEN_RECEIVE_SCALE_CAPABILITIES) C(OID_GEN_RECEIVE_SCALE_PARAMETERS)
C(RNDIS_OID_GEN_CURRENT_PACKET_FILTER) C(RNDIS_OID_GEN_RNDIS_CONFIG_PARAMETER) C(RNDIS_OID_GEN_NETWORK_LAYER_ADDRESSES)

C(NDIS_OBJECT_TYPE_DEFAULT) C(NDIS_OBJECT_TYPE_RSS_CAPABILITIES) C(NDIS_OBJECT_TYPE_RSS_PARAMETERS)
C(NDIS_OBJECT_TYPE_OFFLOAD) C(NDIS_RSS_CAPS_HASH_TYPE_TCP_IPV4) C(NDIS_RSS_CAPS_HASH_TYPE_TCP_IPV6)
C(NDIS_RSS_PARAM_FLAG_BASE_CPU_UNCHANGED) C(NDIS_RSS_PARAM_FLAG_HASH_INFO_UNCHANGED)
C(NDIS_RSS_PARAM_FLAG_ITABLE_UNCHANGED) C(NDIS_RSS_PARAM_FLAG_HASH_KEY_UNCHANGED) C(NDIS_RSS_PARAM_FLAG_DISABLE_RSS)
C(NDIS_HASH_FUNC_TOEPLITZ) C(NDIS_HASH_IPV4) C(NDIS_HASH_TCP_IPV4) C(NDIS_HASH_IPV6) C(NDIS_HASH_TCP_IPV6)
C(NETVSC_HASH_KEYLEN) C(ITAB_NUM) C(NDIS_OFFLOAD_ENCAP_8023)
C(NDIS_TXCSUM_CAP_IP4OPT) C(NDIS_TXCSUM_CAP_TCP4OPT) C(NDIS_TXCSUM_CAP_TCP4) C(NDIS_TXCSUM_CAP_UDP4)
C(NDIS_TXCSUM_CAP_IP4) C(NDIS_TXCSUM_CAP_IP6EXT) C(NDIS_TXCSUM_CAP_TCP6OPT) C(NDIS_TXCSUM_CAP_TCP6)
C(NDIS_TXCSUM_CAP_UDP6)
C(NDIS_OFFLOAD_SIZE_6_0) C(NDIS_OFFLOAD_SIZE_6_1) C(NDIS_OFFLOAD_SIZE)
C(NDIS_OFFLOAD_PARAMETERS_NO_CHANGE) C(NDIS_OFFLOAD_PARAMETERS_TX_RX_DISABLED)
C(NDIS_OFFLOAD_PARAMETERS_TX_ENABLED_RX_DISABLED) C(NDIS_OFFLOAD_PARAMETERS_RX_ENABLED_TX_DISABLED)
C(NDIS_OFFLOAD_PARAMETERS_TX_RX_ENABLED) C(NDIS_OFFLOAD_PARAMETERS_LSOV2_ENABLED) C(VERSION_4_OFFLOAD_SIZE)
}

int main(void)
{
	printf("{\"structs\": {");
	structures();
	printf("\n},\n\"constants\": {");
	comma = "";
	constants();
	printf("\n}}\n");
	return 0;
}
