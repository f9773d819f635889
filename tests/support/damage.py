"""What a disk does to files."""

from pathlib import Path

from hansa.server.blobs import store


def flip_a_bit(digest: str, at: int = -1) -> None:
    """One bit of a blob's file is another."""
    path = store.path_of(digest)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def cut_off(digest: str) -> None:
    """The end of a blob's file is gone."""
    path = store.path_of(digest)
    path.write_bytes(path.read_bytes()[:-1])


def take_away(digest: str) -> None:
    """A blob's file is gone."""
    store.path_of(digest).unlink()


def hit_the_header(digest: str) -> None:
    """The length of a model file's header is another."""
    flip_a_bit(digest, at=2)


def aside(home: Path) -> list[Path]:
    """Damaged files that were set aside, without their reasons."""
    return sorted(path for path in (home / "damaged").glob("*") if path.suffix != ".txt")
