"""The DNS records of sending domains."""
