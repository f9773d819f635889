"""What an event's sentence says: only what its reader is shown of it."""

import pytest

from hansa.protocol.events import Event, EventKind
from hansa.server.trainings.narration import told


def event(kind, **said):
    return Event(id=1, at="2026-03-02T09:00:00+00:00", kind=kind, text="", **said)


OF_ANNA = {"round": 3, "attempt": 1, "username": "anna"}


@pytest.mark.parametrize(
    ("happened", "sentence"),
    [
        (event("training.paused", reason="paused by its actor"), "the training was paused: paused by its actor"),
        (event("participant.excluded", username="anna", reason="3 failures"), "anna is asked no more: 3 failures"),
        (
            event("round.opened", round=3, attempt=2, data={"version": 2, "clients": 1}),
            "round 3, attempt 2 begins from version 2, 1 client",
        ),
        (event("round.opened", round=3, attempt=1, data={"version": 2}), "round 3 begins from version 2"),
        (
            event("round.closed", round=3, attempt=1, data={"phase": "train", "reports": 4, "late": 2}),
            "round 3 closed, 4 reports, 2 late updates",
        ),
        (
            event("round.closed", round=3, attempt=1, data={"phase": "swag", "reports": 1, "late": 0}),
            "round 3 has its moments together, 1 report",
        ),
        (event("round.phase", round=3, attempt=1, data={"phase": "humming"}), "round 3 is humming"),
        (event("task.leased", **OF_ANNA, data={"task": "evaluate"}), "anna evaluates the version in round 3"),
        (event("task.leased", **OF_ANNA, data={"task": "hum"}), "anna is at work in round 3"),
        (
            event("task.refused", **OF_ANNA, reason="it has NaN in fc1.weight", data={"task": "train"}),
            "anna's update was refused in round 3: it has NaN in fc1.weight",
        ),
        (
            event("task.reported", **OF_ANNA, data={"task": "train", "examples": 1200, "bytes": 2048, "norm": 0.25}),
            "anna's update in round 3 was accepted, 1,200 examples, 2.0 KiB, norm 0.25",
        ),
        (
            event("task.late", **OF_ANNA, data={"task": "train", "examples": 1, "norm": None}),
            "anna's update in round 3 was accepted, 1 example, late: it counts in a later round",
        ),
        (
            event("task.lost", **OF_ANNA, reason="no sign of life", data={"times": 9}),
            "anna was lost in round 3 (9 times): no sign of life",
        ),
        (event("task.sung", **OF_ANNA), "task.sung"),
    ],
    ids=lambda value: value.kind if isinstance(value, Event) else "",
)
def test_an_event_is_told_in_a_sentence(happened, sentence):
    assert told(happened) == sentence


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_has_a_sentence_of_its_own_with_nothing_more_than_its_subject_known(kind):
    sentence = told(event(kind.value, round=3, attempt=1, username="anna"))

    assert sentence != kind.value
    assert "None" not in sentence


def test_names_and_reasons_are_told_as_they_are_and_are_the_page_s_to_escape():
    said = event("task.failed", round=1, attempt=1, username="<b>anna</b>", reason="<script>")

    assert told(said) == "<b>anna</b> failed in round 1: <script>"
