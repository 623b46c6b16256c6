"""The smallest complete environment."""

COMPLETE = {
    "DATABASE_URL": "postgres://u:p@db/wishcraft",
    "REDIS_URL": "redis://r",
    "ENCRYPTION_KEYS": "sVvXkE1HjFMZ3gYRkFyUW6pUoLr8iFqVjQ0sJtT0m4o=",
    "SHOPIFY_API_KEY": "id",
    "SHOPIFY_API_SECRET": "hush",
}
