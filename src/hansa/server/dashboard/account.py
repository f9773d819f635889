"""One's own account: the password, and the tokens of one's programs."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth import views
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse_lazy
from django.utils import timezone
from rest_framework.request import Request

from hansa.server.accounts import services
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.dashboard.page import Change, Page, Shown
from hansa.server.lifecycle.bridge import call

LIFETIMES = [("30", "30 days"), ("90", "90 days"), ("365", "one year"), ("", "no end")]


class TokenForm(forms.Form):
    """A new token."""

    name = forms.CharField(max_length=100, label="What is it for?")
    days = forms.ChoiceField(choices=LIFETIMES, required=False, label="It ends after")


class Account(Page):
    """Who one is, and what may act in one's name."""

    template = "account.html"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """The tokens, without their texts, which nobody keeps."""
        return {"tokens": user.tokens.order_by("-created_at"), "form": TokenForm(), "now": timezone.now()}

    async def post(self, request: Request) -> HttpResponseBase:
        """Make a token. Its text is in this answer and nowhere else."""
        form = TokenForm(request.POST)
        if not form.is_valid():
            return await self.with_more(request, {"form": form}, 400)
        days, name = form.cleaned_data["days"], form.cleaned_data["name"]
        seconds = timedelta(days=int(days)).total_seconds() if days else None
        made = await call(
            services.create_token,
            user_id=caller(request).id,
            name=name,
            expires_in_seconds=seconds,
            now=timezone.now(),
        )
        return await self.with_more(request, {"made": made}, 201)


class RevokeToken(Change):
    """A token that is needed no more, or is known to too many."""

    stands_on = "account"

    async def post(self, request: Request, token_id: UUID) -> HttpResponseBase:
        """It stops working at once."""
        await call(services.revoke_token, user_id=caller(request).id, token_id=token_id)
        return self.back()


class Password(LoginRequiredMixin, views.PasswordChangeView):
    """Django's own: the old password, the new one twice. Sessions elsewhere end."""

    template_name = "dashboard/password.html"
    success_url = reverse_lazy("account")

    def form_valid(self, form: Any) -> HttpResponse:  # Any: Django's own signature
        """Say that it is done."""
        messages.success(self.request, "Your password is changed. Other browsers have to sign in again.")
        return super().form_valid(form)
