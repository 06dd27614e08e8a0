"""Integration components: the small devices of the Linux ``hv_util`` driver."""
