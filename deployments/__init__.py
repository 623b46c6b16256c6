"""How WishCraft runs: the local stack and its sandbox, the container image, and the Prefect deployments."""
