"""Webhooks of Shopify: the inbox that receives them, the consumer that handles them, and their dead letters."""
