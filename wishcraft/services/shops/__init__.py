"""Shops: their API keys."""
