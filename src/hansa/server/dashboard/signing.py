"""Signing in and out, and the first run: Django's own forms and views, with our limits on failed attempts."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import login, views
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest
from django.http.response import HttpResponseBase, HttpResponseRedirect
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.views.generic import FormView
from rest_framework import exceptions

from hansa.protocol.accounts import UserCreate
from hansa.server.accounts import first_run, registration
from hansa.server.accounts.attempts import attempt
from hansa.server.accounts.models import User
from hansa.server.accounts.signin import SignInForm
from hansa.server.lifecycle.errors import ServiceError

BY_SESSION = "django.contrib.auth.backends.ModelBackend"


class SignIn(views.LoginView):
    """Name and password. An empty server is set up first."""

    template_name = "dashboard/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True
    next_page = "overview"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:  # Any: Django's own signature
        """The form, or the first run."""
        if first_run.is_open():
            return HttpResponseRedirect(reverse("first-run"))
        return super().get(request, *args, **kwargs)


class SignOut(views.LogoutView):
    """By a form's POST: a link alone signs nobody out."""

    next_page = "sign-in"


class FirstRunForm(forms.Form):
    """The first administrator."""

    code = forms.CharField(max_length=40, label="Code from the terminal")
    username = forms.CharField(max_length=150, label="User name")
    email = forms.EmailField(required=False, label="E-mail (optional)")
    password = forms.CharField(max_length=4096, strip=False, label="Password")
    again = forms.CharField(max_length=4096, strip=False, label="Password, again")

    def clean(self) -> dict[str, Any]:  # Any: what a form's fields are
        """Both passwords are the same."""
        said = super().clean() or {}
        if said.get("password") and said.get("again") and said["password"] != said["again"]:
            self.add_error("again", "The two passwords differ. Type the same one twice.")
        return said


class FirstRun(FormView):  # type: ignore[type-arg]  # generic for the stubs alone
    """Make the first administrator, with the code that the server's terminal shows, and sign them in."""

    template_name = "dashboard/first_run.html"
    form_class = FirstRunForm
    success_url = reverse_lazy("overview")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # Any: as above
        """Once there is an administrator, this page is the way to sign in."""
        if not first_run.is_open():
            return HttpResponseRedirect(reverse("sign-in"))
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: FirstRunForm) -> Any:  # Any: as above
        """The code is looked at first: whoever has none learns nothing else."""
        trying = attempt(self.request)
        said = form.cleaned_data
        try:
            trying.check()
            first_run.check(said["code"])
        except exceptions.Throttled as refusal:
            return self._refused(form, {"code": [str(refusal.detail)]})
        except ServiceError as refusal:
            trying.failed()
            return self._refused(form, {"code": [refusal.detail]})
        try:
            user = self._made(said)
        except exceptions.ValidationError as refusal:
            return self._refused(form, refusal.detail)
        except ServiceError as refusal:  # somebody was faster
            messages.error(self.request, refusal.detail)
            return HttpResponseRedirect(reverse("sign-in"))
        login(self.request, user, BY_SESSION)
        return super().form_valid(form)

    def _made(self, said: dict[str, Any]) -> User:  # Any: a form's fields
        fields = {name: said[name] for name in ("username", "email", "password")}
        user = registration.draft(UserCreate(**fields, actor=True))
        user.password = make_password(said["password"])
        first_run.create_administrator(user=user, now=timezone.now())
        return user

    def _refused(self, form: FirstRunForm, wrong: Any) -> Any:  # Any: DRF's field map; as above
        for field, sentences in wrong.items():
            form.add_error(field if field in form.fields else None, [str(sentence) for sentence in sentences])
        return self.form_invalid(form)
