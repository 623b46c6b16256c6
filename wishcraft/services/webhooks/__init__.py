"""Webhooks of Shopify and mail providers: the inbox, the consumer that handles them, and their dead letters."""
