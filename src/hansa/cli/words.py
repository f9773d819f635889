"""Values as people read them, and what people write for them."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from hansa.cli.exits import CommandError, ExitCode
from hansa.client.plaintext import clean
from hansa.protocol.trainings import Round
from hansa.rounds.states import RoundState

_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
SHORT_ID = 8


def size(count: int | None) -> str:
    """Bytes with three significant digits; k, M, G are powers of 1000, as networks and disks are sold.

    >>> size(999), size(1_234_567), size(None)
    ('999 B', '1.23 MB', '')
    """
    if count is None:
        return ""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    digits = 0 if units[0] == "B" or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {units[0]}"


def latecomers(shown: Round) -> list[str]:
    """Which late updates count in a round, and how much: nothing of an attempt that came to nothing."""
    if shown.state == RoundState.ABANDONED:
        return []
    of_round = Counter((each.round, each.factor) for each in shown.folded)
    return [
        f"{count} late update{'s' if count > 1 else ''} of round {number} counted with weight {factor:.2g}"
        for (number, factor), count in of_round.items()
    ]


def moment(iso: str) -> datetime:
    """A time of the wire, as a datetime that knows its zone."""
    parsed = datetime.fromisoformat(iso)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def ago(iso: str | None, now: datetime, *, never: str = "never") -> str:
    """How long ago a time of the wire was.

    >>> ago("2026-01-01T00:00:00Z", datetime(2026, 1, 1, 3, tzinfo=UTC))
    '3 h ago'
    """
    if iso is None:
        return never
    seconds = (now - moment(iso)).total_seconds()
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{max(0, round(seconds / unit))} {name} ago"
    return f"{round(seconds / 86400)} d ago"


def duration(text: str) -> float:
    """Seconds of "90", "90s", "15m", "12h" or "30d". CommandError for anything else, and for nothing at all.

    >>> duration("12h")
    43200.0
    """
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        raise CommandError(
            f"{clean(text)!r} is not a time; wanted is a number with s, m, h or d, such as 90s, 12h or 30d.",
            ExitCode.USAGE,
        )
    seconds = float(found[1]) * _UNIT_SECONDS[found[2]]
    if not seconds:
        raise CommandError(f"{clean(text)!r} is not above 0; wanted is a time such as 90s, 12h or 30d.", ExitCode.USAGE)
    return seconds


def short_ids(ids: Collection[str]) -> dict[str, str]:
    """Each id shortened as far as all stay different, to 8 characters at the least.

    >>> short_ids(["0a1b2c3d-4e5f", "0a1b2c3d-9999"])
    {'0a1b2c3d-4e5f': '0a1b2c3d-4', '0a1b2c3d-9999': '0a1b2c3d-9'}
    """
    length, longest = SHORT_ID, max(map(len, ids), default=0)
    while length < longest and len({each[:length] for each in ids}) < len(set(ids)):
        length += 1
    return {each: each[:length] for each in ids}


def file_name(text: str) -> str:
    """A visible file of one folder, whatever a server calls the thing.

    >>> file_name("hospital-a"), file_name("../../etc/passwd"), file_name("..")
    ('hospital-a', '_.._etc_passwd', '_')
    """
    return re.sub(r"[^\w.@+-]", "_", text).lstrip(".") or "_"


def listed(names: Iterable[str], *, limit: int = 10) -> str:
    """Names in a row, the first few of many."""
    every = [clean(name) for name in names]
    rest = len(every) - limit
    return ", ".join(every[:limit]) + (f" and {rest} more" if rest > 0 else "")
