"""Drivers and devices that a VM brings along, from files outside the tree."""
