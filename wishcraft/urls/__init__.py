"""URLs of settings: how each is read, and what is wrong with one."""
