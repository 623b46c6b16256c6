"""A clock that shows the time that a test has set."""


class Clock:
    """Seconds, as `time.monotonic` returns them."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time that the test has set."""
        return self.now
