"""Invitations to confirm an e-mail address, and their answers."""
