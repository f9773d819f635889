"""What ends a command before it has begun to take anything; the message says what to do."""


class ComingOverError(Exception):
    """Nothing can be read there, or what was asked for makes no sense."""
