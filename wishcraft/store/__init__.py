"""PostgreSQL: tables, sessions, and queries by noun, each scoped to one shop."""
