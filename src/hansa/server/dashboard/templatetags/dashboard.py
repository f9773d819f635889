"""How pages say numbers and times."""

from collections.abc import Sequence
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


_AT_WORK = {"train": "trains", "evaluate": "evaluates", "swag": "gathers moments", "calibrate": "calibrates"}


@register.filter
def step(task: TaskInfo) -> str:
    """How far a task is within its state; empty where the state says all.

    >>> from hansa.protocol.trainings import TaskInfo
    >>> told = dict.fromkeys(TaskInfo.__struct_fields__[:18], None) | {"kind": "train", "metrics": {}}
    >>> step(TaskInfo(**told | {"state": "leased"}, downloads=True)), step(TaskInfo(**told | {"state": "lost"}))
    ('downloads', '')
    >>> step(TaskInfo(**told | {"state": "leased"}, progress=0.4))
    'trains, 40 %'
    >>> step(TaskInfo(**told | {"state": "reported", "verdict": "accepted"}, cosine=0.5))
    'accepted, aggregated'
    """
    if task.state == "reported":
        return "accepted, aggregated" if task.cosine is not None else str(task.verdict or "")
    if task.state != "leased":
        return ""
    if task.downloads or task.uploaded_at:
        return "downloads" if task.downloads else "has sent its update"
    done = "" if task.progress is None else f", {share(round(task.progress, 2))}"
    return f"{_AT_WORK.get(task.kind, 'works')}{done}"


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


@register.filter
def grouped(count: int) -> str:
    """A whole number, its thousands apart.

    >>> grouped(7850)
    '7,850'
    """
    return f"{count:,}"


@register.filter
def compact(count: int) -> str:
    """A large number in a tile.

    >>> compact(7850), compact(11_173_962), compact(512)
    ('7.85 k', '11.2 M', '512')
    """
    for scale, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= scale:
            return f"{count / scale:.3g} {letter}"
    return str(count)


@register.filter
def shape(lengths: Sequence[int | None]) -> str:
    """Dimensions, with a sign for "times" between them.

    >>> shape([None, 1, 28]).split()[::2]
    ['any', '1', '28']
    """
    return " \N{MULTIPLICATION SIGN} ".join("any" if length is None else str(length) for length in lengths)


@register.filter
def at_most(value: int, most: int) -> int:
    """The smaller of the two."""
    return min(value, most)


@register.filter
def minus(value: float, other: float) -> float:
    """A coordinate beside another."""
    return value - float(other)


@register.filter
def rounded(value: float) -> str:
    """A number of an answer: two or three digits are what is read of it.

    >>> rounded(0.98765), rounded(-12.3456), rounded(3.2e-9)
    ('0.988', '-12.3', '3.2e-09')
    """
    return f"{value:.3g}"


@register.filter
def is_short(values: object) -> bool:
    """Whether it is a list of a few numbers."""
    return isinstance(values, list) and len(values) <= 12 and all(isinstance(each, int | float) for each in values)
