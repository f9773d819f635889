"""What can go wrong on the client's side, one class per thing the caller can do about it.

HansaError
├── UsageError              the call cannot work as it was made: mend it
│   └── StateFolderBusy     another process works in the state folder: end it, or name another folder
├── Unreachable             no answer came: the same call may succeed later
├── BadAnswer               what answered does not speak Hansa's protocol: look at the URL and the versions
├── DamagedDownload         the bytes that came are not the ones that were promised: fetch them again
├── ApiError                the server said no; `status`, `code` and `detail` say why
│   └── CredentialsRefused  the server does not know the token: get a new one
└── ResultError             the trainer returned what cannot be sent: mend the trainer
"""

from collections.abc import Mapping


class HansaError(Exception):
    """Everything this package raises on purpose; its text is written for the person who meets it."""


class UsageError(HansaError):
    """The call cannot work as it was made."""


class StateFolderBusy(UsageError):  # noqa: N818 - it says what the caller meets, as the ones below do
    """Another process works in the state folder."""


class NotTrusted(UsageError):  # noqa: N818 - as above
    """The server's certificate does not lead to a trusted authority, or is another server's."""


class Unreachable(HansaError):  # noqa: N818 - as above
    """No answer came, or it broke off. Whether the server acted on the request is not known, unless `sent` is False."""

    def __init__(self, text: str = "", *, sent: bool = True) -> None:
        super().__init__(text)
        self.sent = sent
        """Whether any of the request may have arrived; False where there was no connection."""


class BadAnswer(HansaError):  # noqa: N818 - as above
    """An answer that is not Hansa's protocol: a proxy's page, a redirect, a server of another kind."""


class DamagedDownload(HansaError):  # noqa: N818 - as above
    """The bytes that came do not have the promised size or SHA-256."""


class ApiError(HansaError):
    """The server refused. `code` is for programs, `detail` for people; `errors` maps field names to what is wrong."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Mapping[str, list[str]] | None = None,
        *,
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.errors: dict[str, list[str]] = dict(errors or {})
        self.retry_after = retry_after
        """Seconds the server asks to be left alone, if it does."""
        super().__init__(status, code, detail)

    def __str__(self) -> str:
        fields = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in self.errors.items())
        return f"{self.detail}{f' ({fields})' if fields else ''} [{self.status} {self.code}]"


class StrangersRefusal(ApiError):  # noqa: N818 - as above
    """A 4xx that Hansa's server has not written: a proxy's page, while the server behind it starts, or a limit of its.

    It says nothing about the task, the update or the report.
    """


class CredentialsRefused(ApiError):  # noqa: N818 - as above
    """401: no credentials, or ones the server does not know (any more)."""

    def __str__(self) -> str:
        return f"{super().__str__()} Get new credentials: `hansa enroll CODE` for a client, `hansa login` for a person."


class ResultError(HansaError, ValueError):
    """What the trainer returned does not fit its task: the message names the array or field, seen and wanted."""
