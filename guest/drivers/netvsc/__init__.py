"""netvsc: the guest's NIC on VMBus channels (drivers/net/hyperv): NVSP outside, RNDIS inside, Ethernet frames in it."""
