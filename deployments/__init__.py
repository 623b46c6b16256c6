"""How WishCraft runs: the local stack, its sandbox, and what is deployed to Prefect."""
