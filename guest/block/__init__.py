"""The block layer: disks as programs see them, and requests that any CPU may start and any CPU may complete."""
