"""Other servers for the same requests, for comparison: a lower bound and common alternatives."""
