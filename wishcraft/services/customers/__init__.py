"""Shopify's customers: what follows when it merges two of them."""
