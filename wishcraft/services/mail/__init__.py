"""Shared code of all mail: sending, suppressed addresses, unsubscribing."""
