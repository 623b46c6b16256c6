"""Receipt and effects of mail provider events."""
