"""Inventory: registry items kept in step with Shopify's variants."""
