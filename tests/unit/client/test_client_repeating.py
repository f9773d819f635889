"""Calls that make something: sent again under one key when their answer is lost, and only then."""

import pytest
from scripted_server import TOKEN, ScriptedServer, cut, status

from hansa.client import Api, ApiError, Transport, Unreachable, repeating
from hansa.client.repeating import TRIES, made_once
from hansa.protocol.models import ModelCreated
from hansa.protocol.trainings import TrainingCreate, TrainingCreated


@pytest.fixture(autouse=True)
def pauses(monkeypatch) -> list[float]:
    """How long it waited; nobody waits here."""
    waited: list[float] = []
    monkeypatch.setattr(repeating.time, "sleep", waited.append)
    return waited


class Story:
    """What comes of a call, try by try; the headers that came with each."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.keys = []

    def __call__(self, headers):
        self.keys.append(headers["Idempotency-Key"])
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


LOST = Unreachable("the connection broke off")
NOWHERE = Unreachable("no connection", sent=False)
AT_WORK = ApiError(409, "in_progress", "is being answered")


@pytest.mark.parametrize("error", [LOST, AT_WORK, *(ApiError(code, "unknown", "") for code in (502, 503, 504))])
def test_a_call_whose_answer_was_lost_is_sent_again_under_its_key(error, pauses):
    story = Story(error, error, "made")
    assert made_once(story) == "made"
    assert len(set(story.keys)) == 1
    assert len(pauses) == 2


def test_every_call_has_a_key_of_its_own():
    stories = [Story("made"), Story("made")]
    for story in stories:
        made_once(story)
    assert stories[0].keys != stories[1].keys


def test_who_cannot_reach_the_server_hears_of_it_at_once(pauses):
    with pytest.raises(Unreachable, match="no connection"):
        made_once(Story(NOWHERE))
    assert not pauses


def test_a_server_that_went_away_with_the_request_is_waited_for():
    assert made_once(Story(LOST, NOWHERE, NOWHERE, "made")) == "made"


@pytest.mark.parametrize("code", [400, 401, 404, 409, 422, 500])
def test_a_refusal_is_told_at_once(code):
    with pytest.raises(ApiError):
        made_once(Story(ApiError(code, "some_code", "no")))


def test_it_ends_after_a_few_tries(pauses):
    with pytest.raises(Unreachable):
        made_once(Story(*[LOST] * TRIES))
    assert len(pauses) == TRIES - 1
    assert sum(pauses) < 30


def answered(answer, seen):
    def reply(handler):
        seen.append((handler.headers["Idempotency-Key"], handler.read_body()))
        handler.reply(201, answer)
        return True

    return reply


def lost(seen):
    def act(handler):
        seen.append((handler.headers["Idempotency-Key"], handler.read_body()))
        return cut(handler)

    return act


def test_a_training_is_asked_for_again_with_the_same_words(server: ScriptedServer):
    created, seen = TrainingCreated(detail="", training_id="1", model_id="2"), []
    server.fail_once("POST", "/api/trainings/", lost(seen))
    server.fail_once("POST", "/api/trainings/", answered(created, seen))
    with Transport(server.url, TOKEN) as transport:
        assert Api(transport).create_training(TrainingCreate(model_id="2", plan={}, clients=["a"])) == created
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_a_model_is_sent_again_from_its_first_byte(server: ScriptedServer, tmp_path):
    content = b"x" * 100_000
    (tmp_path / "model").write_bytes(content)
    created, seen = ModelCreated(detail="", model_id="2"), []
    server.fail_once("POST", "/api/models/", lost(seen))
    server.fail_once("POST", "/api/models/", status(503))
    server.fail_once("POST", "/api/models/", answered(created, seen))
    with Transport(server.url, TOKEN) as transport:
        assert Api(transport).create_model(tmp_path / "model", name="digits") == created
    assert [content in body for _, body in seen] == [True, True]
    assert len({key for key, _ in seen}) == 1
