"""How much of callers' inputs is held at once, and who is kept out by it."""

import pytest

from hansa.server.inference.errors import OverloadedError
from hansa.server.inference.room import Room


def test_one_user_has_half_of_the_room_and_another_still_has_a_place():
    room = Room()
    with room.taken(30, "alice", of=100), room.taken(20, "alice", of=100):
        with pytest.raises(OverloadedError, match="for you already, and at most 50"), room.taken(1, "alice", of=100):
            pass
        with room.taken(50, "bob", of=100):
            pass


def test_what_does_not_fit_is_refused_until_others_have_gone():
    room = Room()
    with room.taken(60, "alice", of=100), pytest.raises(OverloadedError, match="60 bytes"):
        room.taken(41, "bob", of=100).__enter__()
    with room.taken(41, "bob", of=100):
        pass


def test_who_is_alone_has_room_for_anything():
    with Room().taken(1000, "alice", of=100):
        pass
