"""The largest id. Pure."""

from typing import Final

LARGEST_ID: Final = 2**63 - 1
"""The largest `bigint` of PostgreSQL, and Shopify's largest id."""
