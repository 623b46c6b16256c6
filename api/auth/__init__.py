"""Authentication of callers, and the routes' dependencies on it."""
