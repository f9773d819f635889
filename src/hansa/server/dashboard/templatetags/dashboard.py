"""How pages say numbers and times."""

from datetime import UTC, datetime, timedelta

from django import template

from hansa.protocol.trainings import TaskInfo
from hansa.server.dashboard.charts import number

register = template.Library()

NOTHING = "\N{EN DASH}"


@register.filter
def about(span: timedelta | float | None) -> str:
    """A time span as people say it.

    >>> about(timedelta(seconds=3)), about(125.0), about(timedelta(hours=26)), about(0.25)
    ('3 s', '2 min', '26 h', '0.25 s')
    """
    if span is None:
        return NOTHING
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if seconds < 10:
        return f"{max(seconds, 0):.2g} s"
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


@register.filter
def size(count: int | None) -> str:
    """Bytes.

    >>> size(900), size(1_500_000)
    ('900 B', '1.43 MiB')
    """
    if count is None:
        return NOTHING
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} TiB"


_TONES = {"offered": "idle", "leased": "live", "reported": "good", "lost": "warn", "failed": "bad", "closed": "idle"}


@register.filter
def tone(state: str) -> str:
    """How a task's badge looks."""
    return _TONES.get(state, "idle")


@register.filter
def took(task: TaskInfo) -> float | None:
    """Seconds from its lease to its report; None: it has not come to that."""
    if task.leased_at is None or task.reported_at is None:
        return None
    return (datetime.fromisoformat(task.reported_at) - datetime.fromisoformat(task.leased_at)).total_seconds()


@register.filter
def moment(iso: str) -> str:
    """A moment as a person reads it, in UTC: the time of day alone for today's."""
    at = datetime.fromisoformat(iso).astimezone(UTC)
    return f"{at:%H:%M:%S}" if at.date() == datetime.now(UTC).date() else f"{at:%-d %b %Y, %H:%M}"


@register.filter
def unlocalised(value: float) -> str:
    """A coordinate, or a number for a script."""
    return str(value) if isinstance(value, int) else f"{value:g}"


@register.filter
def share(value: float) -> str:
    """Of a whole.

    >>> share(0.25)
    '25 %'
    """
    return f"{value * 100:.3g} %"


@register.filter
def short(value: float) -> str:
    """A measured number."""
    return number(value)
