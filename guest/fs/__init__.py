"""The guest's files as a process on it would see them: /proc and /sys."""
