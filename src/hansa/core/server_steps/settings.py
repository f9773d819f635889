"""What the settings of server steps must be."""


def positive(name: str, value: float) -> None:
    """Raise ValueError unless it is."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} is {value}; it is a number greater than 0")


def decay(name: str, value: float) -> None:
    """Raise ValueError unless it is a share of the past that is kept."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}; it is from 0 to less than 1")
