"""Simulated Amazon SES (API v2) and SendGrid (API v3): routes under `/ses` and `/sendgrid` of the mailbox's server.

They check requests as the real ones do, put accepted mails into the mailbox, and send signed events of what became of
them to an address.
"""
