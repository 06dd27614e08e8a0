"""The commands of the laboratory: one module each, whose ``command`` is a click command."""
