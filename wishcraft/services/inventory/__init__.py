"""Inventory: registry items follow Shopify's variants."""
