"""The container image and an example installation on one machine: see docs/deploying.md."""
