"""The protocols of the devices, as sequences of items: what must be equal in the text, and nothing else."""
