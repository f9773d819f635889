"""How forms tell what is wrong: beside the field, which keeps what was typed, and has the keyboard."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.template.defaultfilters import capfirst
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

Context = Mapping[str, Any]  # Any: what a template is given


def _wrong(context: Context) -> Mapping[str, str]:
    return context.get("wrong") or {}


@register.filter
def at(said: Mapping[str, str] | str | None, field: str) -> str:
    """What was typed there; empty where nothing was."""
    return said.get(field, "") if isinstance(said, Mapping) else ""


@register.simple_tag(takes_context=True)
def told(context: Context, field: str, described_by: str = "") -> SafeString:
    """The attributes of the input with this id: what describes it, and, of the first that is wrong, the focus."""
    wrong = _wrong(context)
    described = [name for name in (described_by, f"{field}-wrong" if field in wrong else "") if name]
    attributes = format_html(' aria-describedby="{}"', " ".join(described)) if described else SafeString()
    if field in wrong:
        attributes += SafeString(' aria-invalid="true"')
    if field == next(iter(wrong), None):
        attributes += SafeString(" autofocus")
    return attributes


@register.simple_tag(takes_context=True)
def wrong_at(context: Context, field: str) -> SafeString:
    """What is wrong there; nothing where nothing is."""
    said = _wrong(context).get(field, "")
    return format_html('<p class="wrong" id="{}-wrong">{}</p>', field, capfirst(said)) if said else SafeString()


@register.simple_tag(takes_context=True)
def wrong_line(context: Context, field: str) -> SafeString:
    """A line that is there, and empty, also where nothing is wrong: it is filled in while one types."""
    return format_html('<p class="wrong" id="{}-wrong">{}</p>', field, capfirst(_wrong(context).get(field, "")))


@register.simple_tag(takes_context=True)
def wrong_here(context: Context) -> SafeString:
    """What is wrong and belongs to no field."""
    wrong = _wrong(context)
    first = next(iter(wrong), None) == ""
    notice = '<p class="notice error" role="alert" tabindex="-1"{}>{}</p>'
    return format_html(notice, SafeString(" autofocus") if first else "", wrong[""]) if wrong.get("") else SafeString()
