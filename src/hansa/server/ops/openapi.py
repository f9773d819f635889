"""How the API's credentials are described in the OpenAPI document."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its registry is untyped
    """`Authorization: Token <40 hex>`."""

    target_class = "hansa.server.accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """OpenAPI's words for it."""
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Token <40 hex characters>"}


class TokenInBasicScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its registry is untyped
    """The token as Basic user name."""

    target_class = "hansa.server.accounts.authentication.TokenInBasicAuthentication"
    name = "tokenInBasic"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """OpenAPI's words for it."""
        return {"type": "http", "scheme": "basic", "description": "The token as user name, an empty password."}


class PasswordScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its registry is untyped
    """User name and password."""

    target_class = "hansa.server.accounts.authentication.PasswordAuthentication"
    name = "basic"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """OpenAPI's words for it."""
        return {"type": "http", "scheme": "basic"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its registry is untyped
    """The cookie of somebody who signed in, as on the pages of the API."""

    target_class = "hansa.server.lifecycle.sessions.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """OpenAPI's words for it."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "With X-CSRFToken for changes."}
