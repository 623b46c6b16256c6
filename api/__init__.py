"""The HTTP API: FastAPI over the core. It runs no jobs."""
