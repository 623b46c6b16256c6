"""Pages, tables and plots for people, each over analytics or operations."""
