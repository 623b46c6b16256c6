"""Mail transports, one module per provider."""
