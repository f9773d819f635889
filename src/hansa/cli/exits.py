"""How a command ends."""

from enum import IntEnum
from typing import TYPE_CHECKING

from hansa.client.errors import ApiError, CredentialsRefused, HansaError, Unreachable, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType


class ExitCode(IntEnum):
    """What a program that called `hansa` may act upon."""

    OK = 0
    FAILED = 1
    """What was asked for could not be done, or the training that was watched did not complete."""
    USAGE = 2
    """The command was not called as it wants to be."""
    UNREACHABLE = 3
    """The server did not answer. The same command may succeed later."""
    NOT_ALLOWED = 4
    """No credentials, ones the server does not know, or ones that do not suffice."""


class CommandError(Exception):
    """A command's end short of its goal, in words for the person who typed it."""

    def __init__(
        self, message: str, code: ExitCode = ExitCode.FAILED, *, choices: "RenderableType | None" = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.choices = choices
        """What to choose from, to be shown below the message."""


def exit_code(error: HansaError) -> ExitCode:
    """The exit code for what the SDK raised."""
    match error:
        case Unreachable():
            return ExitCode.UNREACHABLE
        case CredentialsRefused() | ApiError(status=403):
            return ExitCode.NOT_ALLOWED
        case UsageError():
            return ExitCode.USAGE
        case _:
            return ExitCode.FAILED
