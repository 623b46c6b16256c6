"""Adapters between flows and Prefect: the job decorator, run lifecycle, progress, published reports."""
