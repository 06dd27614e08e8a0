"""genirq: interrupt descriptors, domains, chips and flow handlers, and what /proc shows of them. No VMBus in here."""
