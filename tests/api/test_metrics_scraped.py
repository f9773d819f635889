"""GET /metrics: Prometheus reads what the process counted and what the rows say, and no name of anybody's."""

import asyncio
import re
import shutil
import threading
from dataclasses import replace

import httpx
import pytest
from django.conf import settings
from django.db import OperationalError
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from docs.blocks import ROOT
from hansa.rounds.states import RoundState, TrainingStatus
from hansa.server import config, measures
from hansa.server.lifecycle import bridge
from hansa.server.lifecycle.bridge import call, read, work
from hansa.server.lifecycle.observing import Observed
from hansa.server.ops import accounting, census, questions
from hansa.server.registry.models import ModelVersion
from hansa.server.trainings import mending
from hansa.server.trainings.services import rounds
from support.answers import refused
from support.damage import take_away
from support.people import Person, in_process
from support.work import add_up, lease, report_of, settle, start, update, upload_and_report

PAGE = ROOT / "docs" / "how-to" / "monitor.md"


def samples(text, parse=plain):
    """Every sample: (name, labels) → value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


@pytest.fixture
def scraped(nobody):
    """All samples, as a Prometheus on this machine sees them: to be called and awaited."""

    async def scrape():
        response = await nobody.get("/metrics")
        assert response.status_code == 200, response.text
        return samples(response.text)

    return scrape


def value(seen, name, **labels):
    return seen.get((name, tuple(sorted(labels.items()))), 0)


def grown(before, after, name, **labels):
    return value(after, name, **labels) - value(before, name, **labels)


async def test_prometheus_gets_its_text_format(nobody):
    response = await nobody.get("/metrics")

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert value(samples(response.text), "hansa_database_up") == 1


async def test_who_accepts_openmetrics_gets_that(nobody):
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    response = await nobody.get("/metrics", headers={"Accept": accept})

    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert response.text.endswith("# EOF\n")
    assert value(samples(response.text, openmetrics), "hansa_database_up") == 1


@pytest.mark.parametrize("accept", ["", "text/html", "application/openmetrics-text;version=x", ";;,", "a" * 3000])
async def test_whatever_is_accepted_something_is_sent(nobody, accept):
    assert (await nobody.get("/metrics", headers={"Accept": accept})).status_code == 200


async def test_every_state_has_a_sample_also_where_there_is_nothing_to_count(scraped):
    seen = await scraped()

    for status in TrainingStatus:
        assert seen["hansa_trainings", (("status", status.value),)] == 0
    for state in RoundState:
        assert seen["hansa_rounds", (("state", state.value),)] == 0
    assert value(seen, "hansa_disk_free_bytes") > 0


async def test_the_rows_are_counted_as_they_are(scraped, started, bob):
    await call(lease, bob)

    seen = await scraped()
    assert value(seen, "hansa_trainings", status="ongoing") == 1
    assert value(seen, "hansa_rounds", state="collecting") == 1
    assert (value(seen, "hansa_tasks", state="leased"), value(seen, "hansa_tasks", state="offered")) == (1, 1)
    assert value(seen, "hansa_blobs") == 1
    assert value(seen, "hansa_blobs_bytes") > 100


async def test_the_page_for_operators_lists_every_metric_with_its_labels(nobody):
    listed = {
        name: set(re.findall("`([a-z]+)`", labels))
        for names, labels in re.findall(
            r"^\| (`hansa_\w+`(?:, `hansa_\w+`)*) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE
        )
        for name in re.findall(r"`(\w+)`", names)
    }
    served = {
        family.name + ("_total" if family.type == "counter" else ""): {
            label for sample in family.samples for label in sample.labels if label != "le"
        }
        for family in plain((await nobody.get("/metrics")).text)
        if family.name.startswith("hansa_")
    }

    assert listed.keys() == served.keys()
    assert all(labels <= listed[name] for name, labels in served.items())
    assert set(re.findall(r"hansa_\w+", PAGE.read_text())) <= listed.keys()


async def test_an_update_counts_once_however_often_it_is_reported(scraped, bob, bobs_task):
    before, file = await scraped(), update()
    await upload_and_report(bob, bobs_task, file)
    again = await bob.post(f"/api/tasks/{bobs_task.id}/report/", json=report_of(file))

    assert again.status_code == 200
    assert grown(before, await scraped(), "hansa_updates_accepted_total", kind="train") == 1


async def test_what_is_rolled_back_was_never_counted(scraped, bob, bobs_task, monkeypatch):
    before, file = await scraped(), update()
    await bob.put(f"/api/tasks/{bobs_task.id}/update/{file.digest}/", content=file.content)

    def fail(*args):
        raise OperationalError("database is locked")

    monkeypatch.setattr("hansa.server.changes.crash_point", fail)  # which is passed just before the commit
    assert (await bob.post(f"/api/tasks/{bobs_task.id}/report/", json=report_of(file))).status_code == 500

    assert grown(before, await scraped(), "hansa_updates_accepted_total", kind="train") == 0


async def test_a_round_that_ends_counts_as_done_or_abandoned(scraped, started, bob, carol, clock):
    before = await scraped()
    await call(rounds.abandon, training_id=started.id, reason="a test", now=clock())
    await call(settle, started)

    after = await scraped()
    assert grown(before, after, "hansa_rounds_ended_total", how="abandoned") == 1
    assert grown(before, after, "hansa_rounds_ended_total", how="done") == 0


async def test_rounds_that_damage_undoes_count_as_abandoned_and_the_blob_as_damaged_once(
    scraped, started, bob, carol, alice
):
    for client, add in ((bob, 1.0), (carol, 2.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, started)
    await call(add_up, started)
    newest = await read(ModelVersion.objects.get, model_id=started.model_id, number=1)
    before = await scraped()
    take_away(newest.blob_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mending, "_made_again", never)
        await mending.attend(newest.blob_id)
        await mending.attend(newest.blob_id)

    after = await scraped()
    assert grown(before, after, "hansa_rounds_ended_total", how="abandoned") == 2, "it, and the next"
    assert grown(before, after, "hansa_blobs_damaged_total") == 1


async def never(*args):
    return False


async def test_a_lease_that_ends_without_a_sign_of_life_counts_as_lost(scraped, started, bob, bobs_task, clock):
    before = await scraped()
    clock.advance(61)
    await call(settle, started)

    assert grown(before, await scraped(), "hansa_leases_lost_total") == 1


@pytest.mark.parametrize(
    ("credential", "how"),
    [
        ("token", {"headers": {"Authorization": f"Token {'0' * 40}"}}),
        ("password", {"auth": ("alice", "wrong")}),
    ],
)
async def test_credentials_that_are_wrong_count(scraped, nobody, alice, credential, how):
    before = await scraped()
    assert (await nobody.get("/api/users/myself/", **how)).status_code == 401

    assert grown(before, await scraped(), "hansa_sign_ins_failed_total", credential=credential) == 1


@pytest.fixture
async def observed(handler, bob):
    """Bob, whose requests are counted as those of a server are."""
    async with Person(Observed(handler, accounting.request_ended), bob.user, bob.token) as person:
        yield person


async def test_requests_are_timed_by_route_and_class_of_status(scraped, observed):
    before = await scraped()
    await observed.get("/api/models/")
    await observed.get("/api/models/00000000-0000-0000-0000-000000000000/")
    await observed.get("/nothing/here/")

    after, name = await scraped(), "hansa_http_request_seconds_count"
    assert grown(before, after, name, method="GET", route="api/models/", status="2xx") == 1
    assert grown(before, after, name, method="GET", route="api/models/<uuid:model_id>/", status="4xx") == 1
    assert grown(before, after, name, method="GET", route="unknown", status="4xx") == 1
    assert grown(before, after, "hansa_http_sent_bytes_total", route="api/models/") == len("[]")


async def test_strange_methods_and_paths_make_no_new_series(scraped, observed):
    await observed.get("/first/")
    await observed.request("BREW", "/first/")
    before = await scraped()
    for number in range(20):
        await observed.get(f"/{number}/")
        await observed.request(f"BREW{number}", "/api/models/")

    new = {labels for name, labels in (await scraped()).keys() - before.keys() if name.endswith("_count")}
    assert new <= {(("method", "other"), ("route", "api/models/"), ("status", "4xx"))}


async def test_refused_updates_count_by_the_code_of_the_refusal(scraped, observed, bobs_task):
    before, file = await scraped(), update()
    url = f"/api/tasks/{bobs_task.id}"
    missing = await observed.post(f"{url}/report/", json=report_of(file))
    other = await observed.put(f"{url}/update/{'0' * 64}/", content=file.content)
    malformed = await observed.post(f"{url}/report/", json={"num_examples": "many"})
    nobodys = await observed.post("/api/tasks/00000000-0000-0000-0000-000000000000/report/", json=report_of(file))

    assert [answer.status_code for answer in (missing, other, malformed, nobodys)] == [409, 409, 400, 404]
    after = await scraped()
    for code in ("upload_incomplete", "digest_mismatch", "invalid", "not_found"):
        assert grown(before, after, "hansa_updates_refused_total", code=code) == 1, code
    received = grown(before, after, "hansa_http_received_bytes_total", route=f"{_route('update')}")
    assert received == len(file.content)


def _route(name):
    return f"api/tasks/<uuid:task_id>/{name}/<str:digest>/"


def test_the_routes_of_deliveries_are_those_of_the_server():
    from django.urls import get_resolver

    from support.matrix import patterns

    served = set(patterns(get_resolver().url_patterns))
    assert {route for _, route in accounting.DELIVERIES} <= served


async def test_nobodys_name_is_in_it(nobody, started, bob, observed):
    await observed.get(f"/api/trainings/{started.id}/")
    text = (await nobody.get("/metrics")).text

    for secret in ("alice", "bob", "digits", "small", str(started.id), str(bob.id)):
        assert secret not in text


async def test_without_its_database_the_process_still_tells_what_it_counted(scraped, monkeypatch):
    def refuse():
        raise OperationalError("no")

    monkeypatch.setattr(census, "_count", refuse)
    seen = await scraped()

    assert value(seen, "hansa_database_up") == 0
    assert ("hansa_leases_lost_total", ()) in seen
    assert not any(name == "hansa_rounds" for name, _ in seen)


async def test_a_database_that_hangs_does_not_keep_who_scrapes_waiting(scraped, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(questions, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(census, "_count", go_on.wait)
    try:
        seen = await scraped()
    finally:
        go_on.set()

    assert seen["hansa_database_up", ()] == 0
    assert ("hansa_disk_free_bytes", ()) in seen
    assert not any(name == "hansa_rounds" for name, _ in seen)


async def test_while_disk_and_database_hang_and_all_threads_wait_for_them_the_counters_are_told(scraped, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(questions, "ANSWER_SECONDS", 0.1)
    waiting = [asyncio.create_task(work(go_on.wait)) for _ in range(bridge.WORKERS)]
    waiting += [asyncio.create_task(read(go_on.wait)) for _ in range(bridge.READERS)]
    try:
        seen = await scraped()
    finally:
        go_on.set()
        await asyncio.gather(*waiting)

    assert seen["hansa_database_up", ()] == 0
    assert ("hansa_leases_lost_total", ()) in seen
    assert ("hansa_disk_free_bytes", ()) not in seen


async def test_of_a_disk_that_cannot_be_asked_nothing_is_told(scraped, monkeypatch):
    def refuse(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(shutil, "disk_usage", refuse)
    seen = await scraped()

    assert seen["hansa_database_up", ()] == 1
    assert ("hansa_disk_free_bytes", ()) not in seen


# Who may read them.


@pytest.fixture
def ask(handler, home, transactional_db):
    """The status that somebody at an address gets: to be called and awaited."""

    async def status(address, **headers):
        transport = httpx.ASGITransport(app=in_process(handler).app, client=(address, 40000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/metrics", headers=headers)).status_code

    return status


@pytest.fixture
def allow(monkeypatch):
    """`allow("10.0.0.0/8")`: as HANSA_METRICS_ALLOW says."""

    def use(text, **changed):
        allowed = config.read({"HANSA_METRICS_ALLOW": text}).metrics_allow
        monkeypatch.setattr(settings, "CONFIG", replace(settings.CONFIG, metrics_allow=allowed, **changed))

    return use


async def test_they_are_for_this_machine(ask):
    assert [await ask(address) for address in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1")] == [200] * 4
    assert [await ask(address) for address in ("192.168.0.1", "203.0.113.7", "::2", "", "nonsense")] == [401] * 5


async def test_they_are_for_the_networks_that_were_named_and_no_other(ask, allow):
    allow("10.0.0.0/8,fd00::/8")

    assert [await ask(address) for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1")] == [200] * 3
    assert [await ask(address) for address in ("127.0.0.1", "11.0.0.1", "fe80::1")] == [401] * 3


async def test_they_are_for_no_address_where_nobody_is_allowed(ask, allow):
    allow("nobody")

    assert await ask("127.0.0.1") == 401


FORWARDING = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Via"]


@pytest.mark.parametrize("header", FORWARDING)
async def test_what_was_forwarded_comes_from_nowhere_unless_the_proxy_is_trusted(ask, header):
    assert await ask("127.0.0.1", **{header: "127.0.0.1"}) == 401


@pytest.fixture
def proxied(allow, settings):
    """As behind HANSA_TRUSTED_PROXY=1, on this machine or in 10/8."""
    allow("127.0.0.0/8,10.0.0.0/8", trusted_proxy=True)
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}


async def test_behind_a_trusted_proxy_the_callers_address_counts(ask, proxied):
    assert await ask("127.0.0.1", **{"X-Forwarded-For": "10.0.0.7", "X-Forwarded-Proto": "https"}) == 200
    assert await ask("127.0.0.1", **{"X-Forwarded-For": "10.0.0.7, 203.0.113.7"}) == 401


@pytest.mark.parametrize("header", FORWARDING[1:])
async def test_whom_a_trusted_proxy_does_not_name_comes_from_nowhere(ask, proxied, header):
    assert await ask("127.0.0.1", **{header: "10.0.0.7"}) == 401
    assert await ask("127.0.0.1", **{header: "10.0.0.7", "X-Forwarded-For": " "}) == 401


async def test_a_prometheus_beside_a_trusted_proxy_is_not_forwarded_and_passes(ask, proxied):
    assert await ask("127.0.0.1") == 200


@pytest.fixture
def staff(person):
    return person("staff", is_staff=True)


async def test_staff_may_read_them_from_anywhere_and_others_may_not(nobody, staff, mallory, allow):
    allow("nobody")

    assert (await staff.get("/metrics")).status_code == 200
    refused(await mallory.get("/metrics"), 403, "permission_denied", "HANSA_METRICS_ALLOW")
    refused(await nobody.get("/metrics"), 401, "not_authenticated")


async def test_a_wrong_token_is_refused_wherever_it_comes_from(nobody):
    refused(await nobody.get("/metrics", headers={"Authorization": "Token x"}), 401, "authentication_failed")


async def test_aggregations_are_timed_and_those_that_fail_counted(scraped):
    before = await scraped()
    with measures.aggregation("train", size=1000):
        pass
    with pytest.raises(ZeroDivisionError), measures.aggregation("train", size=1000):
        raise ZeroDivisionError

    after = await scraped()
    assert grown(before, after, "hansa_aggregation_seconds_count", kind="train") == 1
    assert grown(before, after, "hansa_aggregations_failed_total", kind="train") == 1
    assert grown(before, after, "hansa_aggregation_read_bytes_total") == 1000


async def test_a_training_begun_moves_from_one_gauge_to_the_next(scraped, training):
    assert value(await scraped(), "hansa_trainings", status="initial") == 1
    await call(start, training)
    assert value(await scraped(), "hansa_trainings", status="initial") == 0
