"""What is known of the variants that a shop sells."""
