"""Damaged blobs are told of once a minute each, with how often they were found so since."""

import logging
from pathlib import Path

import pytest

from hansa.server.blobs.losses import Losses

SEEN = "its file is not in the store"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def losses(clock, caplog):
    caplog.set_level(logging.ERROR, "hansa")
    return Losses(clock)


def test_a_file_that_many_ask_for_is_told_of_once_a_minute_with_the_count_since(losses, clock, caplog):
    for _ in range(100):
        losses.found("073c", SEEN, None)
        clock.now += 0.5
    assert caplog.messages == [f"Blob 073c is damaged: {SEEN}."]

    clock.now = 60.0
    losses.found("073c", SEEN, None)
    assert caplog.messages[1:] == [
        f"Blob 073c is damaged: {SEEN}. It was found so 99 times more since this was last said."
    ]


def test_another_blob_and_a_file_that_was_set_aside_are_told_of_at_once(losses, caplog):
    losses.found("073c", SEEN, None)
    losses.found("11aa", SEEN, None)
    losses.found("073c", "block 0 is not as its checksum says", Path("damaged/073c-1"))
    assert [message.split()[1] for message in caplog.messages] == ["073c", "11aa", "073c"]
    assert caplog.messages[2].endswith("It is kept as damaged/073c-1.")


def test_a_blob_that_was_whole_in_between_is_a_new_one(losses, caplog):
    losses.found("073c", SEEN, None)
    losses.over("073c")
    losses.found("073c", SEEN, None)
    assert caplog.messages == [f"Blob 073c is damaged: {SEEN}."] * 2
