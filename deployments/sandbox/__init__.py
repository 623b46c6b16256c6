"""Used only by the local stack and the tests: embedded servers, Shopify simulator, mailbox, demo data."""
