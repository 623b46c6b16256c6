"""Health checks of the service and of what it depends on."""
