"""Shops: installing and removing the app, API keys, settings."""
