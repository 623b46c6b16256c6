"""Redis: every key and TTL, the entry format, marks, leases and fills."""
