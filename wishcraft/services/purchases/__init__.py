"""Purchases: what orders, refunds and edits in Shopify mean for the items of registries."""
