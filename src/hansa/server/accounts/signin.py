"""Login forms, of the API's pages and of the admin, with the limits on failed attempts."""

from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from rest_framework.exceptions import Throttled

from hansa.server.accounts.attempts import attempt


class SignInForm(AuthenticationForm):
    """Checks no password after too many wrong ones, and says how long to wait."""

    def clean(self) -> dict[str, Any]:  # Any: what a form's fields are
        """Check name and password."""
        username = self.cleaned_data.get("username")
        if self.request is None or not username or not self.cleaned_data.get("password"):
            return super().clean()
        trying = attempt(self.request, username)
        try:
            trying.check()
        except Throttled as refusal:
            raise ValidationError(str(refusal.detail), code="throttled") from None
        try:
            cleaned = super().clean()
        except ValidationError:
            trying.failed()
            raise
        trying.succeeded()
        return cleaned


class StaffSignInForm(SignInForm, AdminAuthenticationForm):
    """The admin's. The right password of who is not staff counts as wrong: else whether it counted would tell."""
