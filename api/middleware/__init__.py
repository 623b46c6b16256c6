"""ASGI middleware around the FastAPI application."""
