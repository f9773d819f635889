"""The fenced blocks of a document, and how each is run.

Every block of `python` or `console` is run, in order, in one folder per document. Comments right before a block say
what is special about it:

    <!-- file: NAME -->             saved under NAME instead (for any language)
    <!-- runs on until: TEXT -->    its commands run on, each in a terminal of its own, from when TEXT is printed
    <!-- typed: ONE | TWO -->       its commands run in a terminal where these answers are typed, one to a prompt
    <!-- fails: CODE -->            its commands end with this exit code
    <!-- not run: REASON -->        not run, and why

and, once in a document, what it takes for granted (`givens.py`):

    <!-- given: NAME -->

In a console block lines that begin with `$ ` are commands and the lines below them what is printed, where `…` stands
for anything. A command without such lines may print what it likes.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")})
LANGUAGES = ("python", "console")
DIRECTIVES = ("file", "runs on until", "typed", "fails", "not run")

_FENCE = re.compile(r"```(\w*)\s*$")
_COMMENT = re.compile(r"<!-- (\w[\w ]*?): (.+?) -->\s*$")


@dataclass(frozen=True)
class Command:
    """One command and what it should print; None: anything."""

    text: str
    expected: str | None


@dataclass(frozen=True)
class Block:
    document: Path
    line: int
    language: str
    text: str
    directives: dict[str, str]

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[Command]:
        found: list[Command] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append(Command(line[2:], None))
            elif found and found[-1].expected is None and found[-1].text.endswith("\\"):
                found[-1] = Command(f"{found[-1].text}\n{line}", None)
            elif found:
                found[-1] = Command(found[-1].text, "\n".join(filter(None, (found[-1].expected, line))))
        return found


def given(document: Path) -> str:
    """What a document takes for granted; "" for nothing."""
    comments = filter(None, map(_COMMENT.match, document.read_text().splitlines()))
    return next((comment[2] for comment in comments if comment[1] == "given"), "")


def blocks(document: Path) -> list[Block]:
    """All fenced blocks of a document with the directives before each."""
    made: list[Block] = []
    directives: dict[str, str] = {}
    inside: tuple[int, str, list[str]] | None = None
    for number, line in enumerate(document.read_text().splitlines(), start=1):
        fence, comment = _FENCE.match(line.strip()), _COMMENT.match(line)
        if inside is not None and line.strip() == "```":
            made.append(Block(document, inside[0], inside[1], "\n".join(inside[2]) + "\n", directives))
            inside, directives = None, {}
        elif inside is not None:
            inside[2].append(line)
        elif fence:
            inside = (number, fence[1], [])
        elif comment and comment[1] != "given":
            directives[comment[1]] = comment[2]
        elif line.strip():
            directives = {}
    assert inside is None, f"{document}:{inside[0]}: the block does not end"
    return made
