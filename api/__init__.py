"""The storefront's API: FastAPI over the core; it never runs a job."""
