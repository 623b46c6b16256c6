"""Authentication, rate limits and scopes."""
