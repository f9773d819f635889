"""What must be true of users, of the credentials they present, and of the answers they get: a model to compare with."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from hansa.server.accounts.models import User
from support.credentials import user_of_password, user_of_token


@dataclass
class Account:
    """What must be true of a user, by what the writers have done."""

    id: UUID
    name: str
    password: str | None
    active: bool = True
    actor: bool = False
    exists: bool = True


@dataclass
class TokenOf:
    """A token that was made, and what must be true of it."""

    account: Account
    text: str
    expires_at: datetime | None = None
    exists: bool = True

    def is_good(self, now: datetime) -> bool:
        alive = self.exists and (self.expires_at is None or now < self.expires_at)
        return alive and self.account.exists and self.account.active

    def present(self) -> Any:
        return user_of_token(self.text)


@dataclass
class PasswordOf:
    """A text that somebody presents as an account's password."""

    account: Account
    text: str

    def is_good(self, now: datetime) -> bool:
        return self.account.exists and self.account.active and self.account.password == self.text

    def present(self) -> Any:
        return user_of_password(self.account.name, self.text)


@dataclass
class Visit:
    """A request under way, and all that its answer may be: what held when it began, and since."""

    credential: TokenOf | PasswordOf
    task: "asyncio.Task[User | None]"
    may_be: set[tuple[bool, bool]] = field(default_factory=set)

    def look(self, now: datetime) -> None:
        good = self.credential.is_good(now)
        self.may_be.add((good, good and self.credential.account.actor))
