"""What the flows share: the job decorator, its lifecycle, progress and publishing."""
