"""The lender of threads by itself: few threads, lent in order of asking, never lost."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.server.lifecycle import threads
from hansa.server.lifecycle.threads import BorrowedThread, Lender

PATIENCE = 30


@pytest.fixture
def lender() -> Iterator[Lender]:
    lender = Lender(2)
    yield lender
    lender.shutdown()


def ident(borrowed: BorrowedThread) -> int:
    return borrowed.submit(threading.get_ident).result(PATIENCE)


class Held:
    """A call that lasts until it is let go."""

    def __init__(self, borrowed: BorrowedThread) -> None:
        self._gate = threading.Event()
        self.begun = threading.Event()
        self.call: Future[bool] = borrowed.submit(self._run)

    def _run(self) -> bool:
        self.begun.set()
        return self._gate.wait(PATIENCE)

    def let_go(self) -> None:
        self._gate.set()
        assert self.call.result(PATIENCE)


def test_no_thread_is_started_before_one_is_needed() -> None:
    before = threading.active_count()
    BorrowedThread(Lender(4)).release(ended=True)

    assert threading.active_count() == before


def test_a_borrower_keeps_its_thread_and_two_have_different_ones(lender: Lender) -> None:
    one, other = BorrowedThread(lender), BorrowedThread(lender)

    assert ident(one) == ident(one)
    assert ident(other) != ident(one)
    for each in (one, other):
        each.release(ended=True)


def test_a_thread_that_came_back_is_lent_again(lender: Lender) -> None:
    seen = set()
    for _ in range(20):
        borrowed = BorrowedThread(lender)
        seen.add(ident(borrowed))
        borrowed.release(ended=True)

    assert len(seen) <= 2


def test_who_asks_first_is_served_first() -> None:
    lender = Lender(1)
    first = BorrowedThread(lender)
    held = Held(first)
    order: list[int] = []
    waiting = [BorrowedThread(lender) for _ in range(5)]
    calls = [each.submit(order.append, number) for number, each in enumerate(waiting)]

    held.let_go()
    first.release(ended=True)
    for each, call in zip(waiting, calls, strict=True):
        call.result(PATIENCE)
        each.release(ended=True)

    assert order == [0, 1, 2, 3, 4]
    lender.shutdown()


def test_what_a_call_raises_reaches_its_caller_and_leaves_the_thread_whole(lender: Lender) -> None:
    borrowed = BorrowedThread(lender)
    before = ident(borrowed)
    for error in (ZeroDivisionError("a"), SystemExit(3), KeyboardInterrupt()):

        def fail(error: BaseException = error) -> None:
            raise error

        assert borrowed.submit(fail).exception(PATIENCE) is error

    assert ident(borrowed) == before
    borrowed.release(ended=True)


def test_a_thread_inside_a_call_or_pinned_is_not_released(lender: Lender) -> None:
    borrowed = BorrowedThread(lender)
    held = Held(borrowed)
    assert held.begun.wait(PATIENCE)
    borrowed.release()
    inside = borrowed.submit(threading.get_ident)
    held.let_go()
    before = inside.result(PATIENCE)

    borrowed.pins += 1
    borrowed.release()
    other = BorrowedThread(lender)
    assert ident(other) != before
    assert ident(borrowed) == before

    borrowed.pins -= 1
    borrowed.release()
    other.release(ended=True)
    borrowed.release(ended=True)


def test_who_ended_in_the_line_runs_nothing_and_keeps_nothing() -> None:
    lender = Lender(1)
    first, second, third = (BorrowedThread(lender) for _ in range(3))
    held = Held(first)
    ran: list[str] = []
    given_up = second.submit(ran.append, "second")
    call = third.submit(ran.append, "third")

    given_up.cancel()
    second.release(ended=True)
    held.let_go()
    first.release(ended=True)
    call.result(PATIENCE)

    assert ran == ["third"]
    third.release(ended=True)
    lender.shutdown()


def test_what_outlives_its_request_keeps_no_thread_though_it_releases_one_itself(lender: Lender) -> None:
    borrowed = BorrowedThread(lender)
    borrowed.release(ended=True)

    for _ in range(5):
        borrowed.release()
        ident(borrowed)
    others = [BorrowedThread(lender) for _ in range(2)]

    assert len({ident(other) for other in others}) == 2
    for other in others:
        other.release(ended=True)


def test_a_thread_still_busy_for_one_that_ended_is_lent_to_nobody(lender: Lender) -> None:
    gone, next_one = BorrowedThread(lender), BorrowedThread(lender)
    held = Held(gone)
    assert held.begun.wait(PATIENCE)
    gone.release(ended=True)
    try:
        assert next_one.submit(threading.get_ident).result(5)
    finally:
        held.let_go()
        next_one.release(ended=True)


@pytest.mark.parametrize("step", ["_begin", "_end"])
def test_trouble_before_and_after_a_request_loses_no_thread(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def trouble(*_: Any) -> None:
        raise OSError("the database has gone")

    monkeypatch.setattr(threads, step, trouble)
    lender = Lender(1)
    seen = set()
    for _ in range(5):
        borrowed = BorrowedThread(lender)
        seen.add(ident(borrowed))
        borrowed.release(ended=True)

    assert len(seen) == 1
    lender.shutdown()


@settings(max_examples=60, deadline=None, print_blob=True)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["call", "release", "end", "cancel"])), max_size=40),
)
def test_whatever_borrowers_do_all_calls_end_and_all_threads_come_back(size: int, moves: list[tuple[int, str]]) -> None:
    lender = Lender(size)
    borrowers = [BorrowedThread(lender) for _ in range(6)]
    calls: list[tuple[int, Future[int]]] = []
    ended: set[int] = set()
    for who, move in moves:
        if who in ended:
            continue
        if move == "call":
            calls.append((who, borrowers[who].submit(threading.get_ident)))
        elif move == "cancel" and calls:
            calls[-1][1].cancel()
        else:
            borrowers[who].release(ended=move == "end")
            ended |= {who} if move == "end" else set()
    for each in borrowers:  # in the order in which they may stand in the line
        each.release(ended=True)

    assert len({call.result(PATIENCE) for _, call in calls if not call.cancelled()}) <= size
    fresh = [BorrowedThread(lender) for _ in range(size)]
    assert len({ident(each) for each in fresh}) == size
    for each in fresh:
        each.release(ended=True)
    lender.shutdown()
