"""Facts about the variants that a shop sells."""
