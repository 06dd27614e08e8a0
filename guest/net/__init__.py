"""The network layer: frames in pages, devices as programs see them, and NAPI, which takes frames in softirq context."""
