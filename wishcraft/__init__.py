"""WishCraft's core: gift registries for Shopify stores. It knows neither Prefect nor FastAPI."""
