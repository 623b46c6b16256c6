"""Reminders of events, and unsubscribing from them."""
