"""Logging, Sentry, process metrics, redaction, and the context of requests and runs."""
