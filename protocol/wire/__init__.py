"""Byte layouts of everything that crosses the VMBus: control messages, SynIC, hypercalls, GPADLs, device bodies."""
