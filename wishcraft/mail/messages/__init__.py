"""Messages and pages: content and templates, no transport."""
