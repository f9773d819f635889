"""The ORM: for other databases, and for moments in which a connection of our own cannot answer."""

from hansa.server.accounts.credentials.identities import Identity, Lookup
from hansa.server.accounts.models import Token, User


def find(lookup: Lookup, key: str) -> Identity | None:
    """Read one user, also one that is inactive."""
    if lookup is Lookup.TOKEN:
        token = Token.objects.select_related("user").filter(digest=key).first()
        return None if token is None else Identity.of(token.user, token.expires_at)
    user = User.objects.filter(username=key).first()
    return None if user is None else Identity.of(user)
