"""The sandbox's mail server: it receives mail over SMTP, delivers none, and shows it on a page.

Faults make it refuse or defer a message, hang, or close the connection, for one address or for all.
"""
