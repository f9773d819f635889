"""The pictures of a round that have a part for each client, as SVG: a template would take ten times as long for them.

Texts are escaped here; everything else is a number, or a word of this server's.
"""

from collections.abc import Sequence
from html import escape

from django import template
from django.utils.safestring import SafeString

from hansa.server.dashboard.charts import Dot, Stretch
from hansa.server.dashboard.templatetags.dashboard import about

register = template.Library()


@register.filter
def as_circles(dots: Sequence[Dot]) -> SafeString:
    """Updates in the plane of norms and cosines.

    >>> as_circles([Dot("<b>", 1.5, 2.0, 3.0, "", "<b>: norm 1")])
    '<circle class="dot" cx="1.5" cy="2.0" r="3.0"><title>&lt;b&gt;: norm 1</title></circle>'
    """
    return SafeString(
        "".join(
            f'<circle class="dot{" apart" if dot.apart else ""}" cx="{dot.x}" cy="{dot.y}" r="{dot.radius}">'
            f"<title>{escape(dot.summary)}</title></circle>"
            for dot in dots
        )
    )


@register.filter
def as_bars(stretches: Sequence[Stretch]) -> SafeString:
    """What a client did in a round.

    >>> as_bars([Stretch(0.0, 20.5, "waits", 3.0)])
    '<rect class="waits" x="0.0" y="0" width="20.5" height="10"><title>waits 3 s</title></rect>'
    """
    return SafeString(
        "".join(
            f'<rect class="{each.kind}" x="{each.at}" y="0" width="{each.width}" height="10">'
            f"<title>{each.kind} {about(each.seconds)}</title></rect>"
            for each in stretches
        )
    )


@register.filter
def as_lines(marks: Sequence[tuple[float, str]]) -> SafeString:
    """Moments that cross all lanes.

    >>> as_lines([(120.25, "closed")])
    '<line class="mark" x1="120.25" x2="120.25" y1="0" y2="10"><title>closed</title></line>'
    """
    return SafeString(
        "".join(
            f'<line class="mark" x1="{at}" x2="{at}" y1="0" y2="10"><title>{name}</title></line>' for at, name in marks
        )
    )


@register.filter
def in_words(stretches: Sequence[Stretch]) -> str:
    """A lane for who does not see it.

    >>> in_words([Stretch(0.0, 20.5, "waits", 3.0), Stretch(20.5, 9.0, "works", 8.0)]), in_words([])
    ('waits 3 s, works 8 s', 'nothing yet')
    """
    return ", ".join(f"{each.kind} {about(each.seconds)}" for each in stretches) or "nothing yet"
