"""The soak test: everything is busy while everything moves, and at intervals all of it must add up."""
