"""The app's configuration in Shopify: `shopify.app.toml`, which `shopify app deploy` sends (docs/shopify.md)."""
