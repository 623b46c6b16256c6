"""The sandbox's mail server: it takes mail over SMTP, delivers none, and shows what came on a page.

Faults make it refuse, put off, hang, or break off, for one address or for all.
"""
