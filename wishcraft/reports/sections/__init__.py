"""Sections of the maintenance reports, as pure functions on figures."""
