"""``./launch.sh diff``: one VM, started once with the emulated guest and once with a real kernel, and compared."""
