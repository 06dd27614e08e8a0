"""netvsp: the host's synthetic NIC, from ring packet to the frames of a back end."""
