"""Prefect flows: each a table of contents for one job."""
