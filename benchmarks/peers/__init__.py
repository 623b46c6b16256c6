"""What answers the same requests in other ways: the floor, and what one would build instead. A measure only."""
