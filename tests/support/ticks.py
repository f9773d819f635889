"""A clock for what counts in nanoseconds."""

NANOSECONDS = 10**9


class Ticks:
    """Stands still until it is moved on; to be given where `time.monotonic_ns` is the default."""

    def __init__(self, now: int = 10**18) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self.now += round(seconds * NANOSECONDS)
