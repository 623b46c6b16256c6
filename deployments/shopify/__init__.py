"""What Shopify knows of the app: `shopify.app.toml`, which `shopify app deploy` sends (docs/shopify.md)."""
