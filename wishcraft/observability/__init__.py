"""What the process tells of itself: log lines and reports to Sentry, both without secrets and personal data."""
