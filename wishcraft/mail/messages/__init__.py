"""The contents of mails, rendered; no transport."""
