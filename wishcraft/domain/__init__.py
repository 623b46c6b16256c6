"""Rules as pure functions and values: no I/O, the time is passed in."""
