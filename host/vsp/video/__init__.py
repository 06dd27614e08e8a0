"""Synthetic video."""
