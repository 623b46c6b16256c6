"""What the product does, each use in one place: store, cache and Shopify brought together by `Resources`."""
