"""The API's description for people: Swagger UI, on which calls can be tried, and ReDoc, which reads like a book.

Both are served from the installed packages, under the content-security policy of every other page. ReDoc writes style
sheets while it runs: these carry a nonce.
"""

import secrets

from django.http import HttpResponse
from django.shortcuts import render
from rest_framework.request import Request

from hansa.server.lifecycle.headers import HEADERS
from hansa.server.lifecycle.messages import MessageView

_POLICY = "Content-Security-Policy"


class SwaggerUI(MessageView):
    """The API's description, and a form for every call."""

    authentication_classes = ()
    permission_classes = ()
    schema = None

    def get(self, request: Request) -> HttpResponse:
        """The page; its script fetches the description."""
        return render(request._request, "ops/swagger_ui.html")


class Redoc(MessageView):
    """The API's description, to be read."""

    authentication_classes = ()
    permission_classes = ()
    schema = None

    def get(self, request: Request) -> HttpResponse:
        """The page; its script fetches the description."""
        nonce = secrets.token_urlsafe(16)
        page = render(request._request, "ops/redoc.html", {"nonce": nonce})
        page.headers[_POLICY] = f"{HEADERS[_POLICY]}; style-src 'self' 'nonce-{nonce}'"
        return page
