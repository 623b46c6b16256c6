"""Prefect flows: one module per job, which lists the job's steps."""
