"""Shopify's Admin GraphQL API: client, tokens, signatures, ids."""
