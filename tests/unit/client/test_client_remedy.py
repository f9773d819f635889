"""What a client does about each error, as a table."""

import pytest

from hansa.client.errors import (
    ApiError,
    BadAnswer,
    CredentialsRefused,
    DamagedDownload,
    NotTrusted,
    StrangersRefusal,
    Unreachable,
    UsageError,
)
from hansa.client.remedy import Remedy, for_lease, for_task


def api(status, code="unknown"):
    return ApiError(status, code, "because")


UNKNOWN_TOKEN = CredentialsRefused(401, "authentication_failed", "because")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (Unreachable(), Remedy.AGAIN),
        (DamagedDownload(), Remedy.AGAIN),
        (BadAnswer(), Remedy.AGAIN),
        (NotTrusted(), Remedy.AGAIN),
        *((StrangersRefusal(status, "unknown", "a page"), Remedy.AGAIN) for status in (400, 403, 404, 410, 413, 431)),
        (api(500), Remedy.AGAIN),
        (api(502), Remedy.AGAIN),
        (api(503), Remedy.AGAIN),
        (api(429, "throttled"), Remedy.AGAIN),
        (api(408), Remedy.AGAIN),
        (api(507, "insufficient_storage"), Remedy.SLOWLY),
        (UNKNOWN_TOKEN, Remedy.STOP),
        (api(409, "upload_offset"), Remedy.AGAIN),
        (api(409, "upload_incomplete"), Remedy.AGAIN),
        (api(409, "digest_mismatch"), Remedy.AGAIN),
        (api(409, "round_closed"), Remedy.DROP),
        (api(409, "task_closed"), Remedy.DROP),
        (api(409, "digest_conflict"), Remedy.DROP),
        (api(403, "permission_denied"), Remedy.DROP),
        (api(404, "not_found"), Remedy.DROP),
        (api(422, "spec_mismatch"), Remedy.FAIL),
        (api(400, "not_finite"), Remedy.FAIL),
        (api(400, "bad_model_file"), Remedy.FAIL),
        (api(413, "too_large"), Remedy.FAIL),
    ],
)
def test_about_a_task(error, remedy):
    assert for_task(error) is remedy


@pytest.mark.parametrize(
    ("error", "at_first", "later"),
    [
        (Unreachable(), Remedy.AGAIN, Remedy.AGAIN),
        (api(503), Remedy.AGAIN, Remedy.AGAIN),
        (api(429), Remedy.AGAIN, Remedy.AGAIN),
        (api(507), Remedy.AGAIN, Remedy.AGAIN),
        (UNKNOWN_TOKEN, Remedy.STOP, Remedy.STOP),
        (UsageError("newer protocol"), Remedy.STOP, Remedy.STOP),
        (BadAnswer(), Remedy.STOP, Remedy.AGAIN),
        (NotTrusted(), Remedy.STOP, Remedy.AGAIN),
        (api(404), Remedy.STOP, Remedy.AGAIN),
        (api(403), Remedy.STOP, Remedy.AGAIN),
        (api(400), Remedy.STOP, Remedy.AGAIN),
    ],
)
def test_when_asking_for_work(error, at_first, later):
    """A wrong URL or token is told at once; a server that once answered is waited for."""
    assert for_lease(error, known=False) is at_first
    assert for_lease(error, known=True) is later
