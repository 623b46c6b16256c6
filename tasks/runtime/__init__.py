"""Adapters between tasks and Prefect: retries, shop batches, progress, run context and history."""
