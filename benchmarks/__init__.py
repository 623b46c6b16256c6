"""`make bench`: measurements, each beside the naive implementation or a lower bound in the same run."""
