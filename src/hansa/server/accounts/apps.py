from django.apps import AppConfig
from django.db.backends.signals import connection_created


class AccountsConfig(AppConfig):
    """Users, tokens and invitations."""

    name = "hansa.server.accounts"
    label = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        """From here on, what changes users or tokens is noted."""
        from hansa.server.accounts.credentials import changes

        connection_created.connect(changes.watch)
