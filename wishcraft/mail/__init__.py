"""Mail: content, templates and providers. It decides neither the recipients nor the time."""
