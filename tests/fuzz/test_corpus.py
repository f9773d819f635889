"""Every input the fuzzer ever learned from, or stumbled over, without the fuzzer."""

from pathlib import Path

import pytest

from fuzz.archive_target import look_at

CORPUS = sorted(Path(__file__).with_name("corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_an_input_of_the_corpus_is_read_or_refused(path: Path) -> None:
    look_at(path.read_bytes())


def test_the_corpus_is_small_and_opens_every_door() -> None:
    assert sum(path.stat().st_size for path in CORPUS) < 2**20
    assert {path.read_bytes()[:1] for path in CORPUS} >= {b"f", b"p", b"s", b"c"}
