"""Use cases, a package each: they combine the stores, Shopify and mail through `Resources`."""
