"""What the emulated guest's user space runs: programs that use disks from every CPU and know what must come out."""
