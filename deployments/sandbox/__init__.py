"""What only the local stack and the tests need: embedded servers, the Shopify simulator, demo data."""
