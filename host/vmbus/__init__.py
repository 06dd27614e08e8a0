"""The VMBus server: control messages, channels, GPADLs.  ``tables`` is the specification, the rest carries it out."""
