"""Registries: reading, the write primitive, and what registrants and guests do."""
