"""Rules as pure functions and values: no I/O; callers pass the time."""
