"""What all mail shares: sending, suppressed addresses, unsubscribing."""
