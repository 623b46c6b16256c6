"""Erasing people and shops, the journal of it, and handing over what is known about a person."""
