"""The local stack: all services of WishCraft on this machine, as children of one supervisor process."""
