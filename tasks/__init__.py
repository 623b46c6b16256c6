"""Prefect tasks: one retryable unit of I/O each, thin around one core function."""
