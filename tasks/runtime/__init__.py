"""Adapters between tasks and Prefect: retries, the loop over items, progress, run context, history of runs."""
