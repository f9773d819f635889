"""What the documents tell a reader to type works as it is written, and prints what they say."""

import re

import pytest

from docs.blocks import DIRECTIVES, DOCUMENTS, LANGUAGES, ROOT, blocks, given
from docs.givens import GIVENS
from docs.terminal import Terminal, matches
from support.databases import on_postgresql


def named(document):
    return str(document.relative_to(ROOT))


def is_run(document):
    return any(block.language in LANGUAGES and "not run" not in block.directives for block in blocks(document))


def lines(program):
    """A program, however far it is indented."""
    return "\n".join(line.strip() for line in program.splitlines() if line.strip())


@pytest.fixture
def terminal(tmp_path):
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", [each for each in DOCUMENTS if is_run(each)], ids=named)
def test_what_a_document_says_to_type_works(document, terminal):
    if document.name == "back-up.md" and on_postgresql():
        pytest.skip("a restored server wants a database of its own; test_backup_postgresql.py gives it one")
    GIVENS[given(document)](terminal)
    for block in blocks(document):
        terminal.perform(block)


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_directive_is_one_that_the_tests_know(document):
    for block in blocks(document):
        assert set(block.directives) <= set(DIRECTIVES), block.place
    assert given(document) in GIVENS


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_shell_and_code_are_in_blocks_that_are_run(document):
    hidden = [block.place for block in blocks(document) if block.language in ("bash", "sh", "shell", "py", "pycon")]
    assert not hidden, "name them console or python, so that they are run"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_what_is_said_to_be_from_a_file_of_the_example_is(document):
    for block in blocks(document):
        origin = re.match(r"from (notes/\w+\.py)$", block.directives.get("not run", ""))
        if origin is not None:
            assert lines(block.text) in lines((ROOT / "examples" / "lifecycle" / origin[1]).read_text()), block.place


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_to_a_file_leads_somewhere(document):
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (document.parent / target).exists(), target


def test_printed_lines_are_compared_with_room_for_what_differs():
    assert matches("a … c\n…\nend", "a  b   c\n1\n2\n3\nend\n")
    assert matches("one", "one\n")
    assert not matches("a b", "a c")
    assert not matches("one", "one\ntwo")
