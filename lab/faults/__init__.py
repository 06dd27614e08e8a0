"""Faults against invariants: each fault is injected into a busy VM of its own, and what turns red is a table."""
