"""Model versions on disk: downloaded once, verified after a restart, only the newest kept."""

import hashlib

import pytest

from hansa.client.cache import KEPT, ParamsCache

CONTENTS = [bytes([number]) * 100 for number in range(5)]


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def fetched():
    return []


@pytest.fixture
def get(fetched):
    def get(cache, content):
        def fetch(path):
            fetched.append(content)
            path.write_bytes(content)

        return cache.path(digest(content), fetch)

    return get


def test_a_version_is_fetched_once(tmp_path, get, fetched):
    cache = ParamsCache(tmp_path)
    paths = {get(cache, CONTENTS[0]) for _ in range(3)}
    assert [path.read_bytes() for path in paths] == [CONTENTS[0]]
    assert len(fetched) == 1


def test_after_a_restart_it_counts_if_its_digest_is_right(tmp_path, get, fetched):
    get(ParamsCache(tmp_path), CONTENTS[0])
    get(ParamsCache(tmp_path), CONTENTS[0])
    assert len(fetched) == 1


def test_what_a_power_cut_left_is_fetched_again(tmp_path, get, fetched):
    path = get(ParamsCache(tmp_path), CONTENTS[0])
    path.write_bytes(b"half of it")
    assert get(ParamsCache(tmp_path), CONTENTS[0]).read_bytes() == CONTENTS[0]
    assert len(fetched) == 2


def test_the_last_used_are_kept_and_remains_of_downloads_are_not(tmp_path, get):
    cache = ParamsCache(tmp_path)
    (tmp_path / "params" / ".old.part").write_bytes(b"half")
    for number in (0, 1, 0, 2):
        get(cache, CONTENTS[number])
    left = {path.read_bytes() for path in (tmp_path / "params").iterdir()}
    assert left == {CONTENTS[0], CONTENTS[2]}
    assert len(left) == KEPT


def test_a_failed_fetch_leaves_nothing_that_counts(tmp_path, get, fetched):
    cache = ParamsCache(tmp_path)

    def broken(path):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        cache.path(digest(CONTENTS[0]), broken)
    get(cache, CONTENTS[0])
    assert len(fetched) == 1
