"""The event log as pages: turned over as far back as it goes, narrowed, and to participants only what is theirs."""

import re

import pytest

from dashboard.conftest import words
from hansa.protocol.events import EventKind
from hansa.server.dashboard.log import WHAT
from hansa.server.lifecycle.bridge import call
from hansa.server.trainings.models import Event
from support.work import lease, start


@pytest.fixture
async def eventful(training, bob, carol, monkeypatch):
    """Bob and Carol are at work; pages of the log are short."""
    await call(start, training)
    for person in (bob, carol):
        await call(lease, person)
    monkeypatch.setattr("hansa.server.dashboard.log.NEWEST_EVENTS", 2)
    monkeypatch.setattr("hansa.server.dashboard.log.EVENTS_PER_PAGE", 2)
    return training


def told(page):
    """The sentences of a page, newest first."""
    return re.findall(r'<li id="event-\d+"><time.*?<span>([^<]*)</span></li>', page.text, re.DOTALL)


def older(page):
    """Where the next page is."""
    found = re.search(r'rel="next" href="([^"]*)">Older events', page.text)
    return found and found[1].replace("&amp;", "&")


async def turned_over(window, page):
    """What stands on this page and on all older ones."""
    found = told(page)
    while path := older(page):
        page = await window.get(path)
        found += told(page)
    return found


async def test_the_log_is_turned_over_to_its_beginning_each_event_once(browser, alice, eventful):
    window = await browser(alice)

    found = await turned_over(window, await window.get(f"/trainings/{eventful.id}/"))

    kept = await call(Event.objects.filter(training=eventful.id).count)
    assert len(found) == kept > 4
    assert found[0] == "carol trains in round 1"
    assert found[-1] == "the training was created"


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("what=training", ["the training was started", "the training was created"]),
        ("what=task&client=bob", ["bob trains in round 1"]),
        ("what=trouble", []),
        ("client=nemo", []),
        ("of_round=9", []),
    ],
)
async def test_the_log_is_narrowed_by_what_happened_and_to_whom(browser, alice, eventful, asked, wanted):
    window = await browser(alice)

    for path in ("parts/log/", "events/"):
        assert told(await window.get(f"/trainings/{eventful.id}/{path}?{asked}")) == wanted


async def test_older_pages_are_narrowed_as_the_first_is(browser, alice, eventful):
    window = await browser(alice)

    page = await window.get(f"/trainings/{eventful.id}/events/?of_round=1")

    assert "of_round=1&before=" in older(page)
    assert set(await turned_over(window, page)) == {
        "round 1 begins from version 0, 2 clients",
        "bob trains in round 1",
        "carol trains in round 1",
    }


async def test_a_participant_finds_nothing_of_others_however_it_asks(browser, bob, eventful):
    window, path = await browser(bob), f"/trainings/{eventful.id}/events/"

    everything = await turned_over(window, await window.get(path))
    assert "bob trains in round 1" in everything
    assert not any("carol" in sentence or "clients" in sentence for sentence in everything)
    asked = await window.get(f"{path}?client=carol")
    assert told(asked) == []
    assert "carol is no participant of this training whose events are yours to see" in words(asked)
    assert '<option value="carol">' not in asked.text


@pytest.mark.parametrize("asked", ["what=nonsense&before=x", "before=99999999999999999999", "of_round=-1"])
async def test_what_an_address_says_amiss_narrows_nothing(browser, alice, eventful, asked):
    assert len(told(await (await browser(alice)).get(f"/trainings/{eventful.id}/events/?{asked}"))) == 2


def test_every_kind_of_event_can_be_asked_for():
    assert frozenset().union(*(kinds for _, kinds in WHAT.values())) == {kind.value for kind in EventKind}
