"""Where somebody is on a training's page: which round, whose lanes, which leaf of which list. Links that change one of
these keep the others.
"""

from typing import Final

from django import template
from django.http import HttpRequest
from django.template import Context
from django.utils.html import format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

register = template.Library()

KEPT: Final = ("round", "lanes", "leaf", "highlight", "versions", "clients", "what", "client", "of_round")


@register.simple_tag(takes_context=True)
def asked(context: Context, **changed: object) -> str:
    """The query of the page's address, with these changes; what is empty is left out."""
    said = {**_said(context), **{name: str(value) for name, value in changed.items()}}
    query = urlencode({name: said[name] for name in KEPT if said.get(name)})
    return f"?{query}" if query else ""


@register.simple_tag(takes_context=True)
def kept(context: Context, *but: str) -> SafeString:
    """The same for a form, which says the others itself."""
    rest = [(name, value) for name, value in _said(context).items() if name not in but and value]
    return format_html_join("", '<input type="hidden" name="{}" value="{}">', rest)


def _said(context: Context) -> dict[str, str]:
    request = context.get("request")
    return {name: request.GET.get(name, "") for name in KEPT} if isinstance(request, HttpRequest) else {}
