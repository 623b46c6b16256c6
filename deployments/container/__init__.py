"""The container image, and an installation made of it on one machine: see docs/deploying.md."""
