"""The local stack: everything that WishCraft needs, on this machine, as the children of one process."""
