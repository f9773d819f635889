from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from hansa.server.accounts import endpoints
from hansa.server.accounts.models import Answered, Invitation, Token, User
from hansa.server.accounts.signin import StaffSignInForm
from hansa.server.lifecycle.history import HistoryAdmin

admin.site.login_form = StaffSignInForm


class _Reachable(forms.ModelForm):  # type: ignore[type-arg]  # ModelForm is generic in the stubs only
    """Asks of an endpoint what registration asks. One that was there before does not stop other changes."""

    def clean_message_endpoint(self) -> str:
        """Refuse what the server may not send to."""
        endpoint: str = self.cleaned_data["message_endpoint"]
        if endpoint and "message_endpoint" in self.changed_data:
            try:
                endpoints.check(endpoint)
            except endpoints.EndpointError as error:
                raise ValidationError(str(error)) from error
        return endpoint


class _UserChangeForm(_Reachable, UserChangeForm):  # type: ignore[type-arg]  # as above
    pass


class _UserCreationForm(_Reachable, AdminUserCreationForm):  # type: ignore[type-arg]  # as above
    pass


@admin.register(User)
class HansaUserAdmin(UserAdmin):  # type: ignore[type-arg]  # UserAdmin is generic in the stubs only
    """Django's user admin, with the roles, and where push clients are told of their tasks."""

    form = _UserChangeForm
    add_form = _UserCreationForm
    list_display = ("username", "email", "actor", "client", "is_staff", "last_seen")
    list_filter = ("actor", "client", "is_staff", "is_active", "groups")
    fieldsets = (
        *(UserAdmin.fieldsets or ()),
        ("Hansa", {"fields": ("actor", "client", "message_endpoint", "invited_by", "last_seen")}),
    )
    add_fieldsets = (
        *(UserAdmin.add_fieldsets or ()),
        ("Personal info", {"fields": ("first_name", "last_name", "email")}),
        ("Hansa", {"fields": ("actor", "client", "message_endpoint")}),
    )
    readonly_fields = ("last_seen", "invited_by")


class _Revocable(HistoryAdmin):
    """Rows that are made by the API, shown and revoked here; their secrets are not stored."""

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Deleting the row is what revokes it."""
        return bool(request.user.is_active and getattr(request.user, "is_superuser", False))


@admin.register(Token)
class TokenAdmin(_Revocable):
    """Tokens: who has which, until when. Delete one to revoke it."""

    list_display = ("id", "user", "name", "created_at", "expires_at")
    list_select_related = ("user",)
    exclude = ("digest",)


@admin.register(Invitation)
class InvitationAdmin(_Revocable):
    """Invitations. Delete one to withdraw it."""

    list_display = ("id", "user", "invited_by", "created_at", "expires_at", "used_at")
    list_select_related = ("user", "invited_by")
    exclude = ("digest",)


@admin.register(Answered)
class AnsweredAdmin(HistoryAdmin):
    """What was answered to requests with an idempotency key; a day old it is deleted."""

    list_display = ("key", "user", "answered_at")
    list_select_related = ("user",)
