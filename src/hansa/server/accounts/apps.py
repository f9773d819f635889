from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Users, tokens and invitations."""

    name = "hansa.server.accounts"
    label = "accounts"
    verbose_name = "Accounts"
