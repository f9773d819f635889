"""What pages call a training: by its name, or by the beginning of its id where it has none."""

from uuid import UUID


def title(name: str, training_id: UUID | str) -> str:
    """The training's own name where it has one.

    >>> title("spring", "1234567890"), title("", "1234567890")
    ('spring', 'training 12345678')
    """
    return name or f"training {str(training_id)[:8]}"
