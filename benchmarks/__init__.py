"""Measurements, each beside the obvious way of doing the same in the same run: `make bench`."""
