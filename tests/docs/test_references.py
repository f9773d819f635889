"""The reference pages say what the program says: no more, no less, and nothing else."""

import json
import re
from importlib import import_module

import pytest
from drf_spectacular.generators import SchemaGenerator

import hansa.protocol.accounts
import hansa.protocol.events
import hansa.protocol.inference
import hansa.protocol.models
import hansa.protocol.tasks
import hansa.protocol.trainings
from docs.blocks import ROOT, blocks
from docs.cli_reference import reference
from hansa.cli import main
from hansa.cli.exits import ExitCode
from hansa.protocol.errors import ErrorCode
from hansa.rounds.plan import parse, schema, to_data
from hansa.server import lifecycle
from hansa.server.dashboard import plan_fields
from hansa.server.lifecycle.conf import Conf

REFERENCE = ROOT / "docs" / "reference"
UNLISTED = {"HEAD /api/tasks/{task_id}/update/{digest}/"}
"""Documented, though the generator of the schema leaves HEAD out."""


def rows(page):
    """The cells of every table row of a page."""
    lines = (REFERENCE / page).read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| `")]


def test_the_page_of_the_command_line_is_what_the_commands_say():
    assert (REFERENCE / "cli.md").read_text() == reference(), (
        "python tests/docs/cli_reference.py > docs/reference/cli.md"
    )


def test_every_exit_code_is_explained():
    explained = re.findall(r"^\| (\d+) \|", (REFERENCE / "cli.md").read_text(), flags=re.MULTILINE)
    assert {int(code) for code in explained} == {*map(int, ExitCode), 130}


def test_every_call_of_the_server_is_in_the_page_of_the_api_and_no_other():
    paths = SchemaGenerator().get_schema(public=True)["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    written = {cells[0].strip("`") for cells in rows("api.md") if "/api/" in cells[0]}
    assert written == served | UNLISTED


def test_every_message_named_in_the_page_of_the_api_is_one_of_the_protocol():
    protocol = hansa.protocol
    modules = (
        protocol.accounts,
        protocol.events,
        protocol.inference,
        protocol.models,
        protocol.tasks,
        protocol.trainings,
    )
    known = {name for module in modules for name in vars(module)}
    calls = [cells for cells in rows("api.md") if "/api/" in cells[0]]
    named = {name for cells in calls for name in re.findall(r"`([A-Z]\w+)`", cells[2])}
    assert named - {"Range", "ETag"} <= known
    assert len(named) > 20


def test_every_code_of_an_error_is_explained():
    written = {cells[0].strip("`") for cells in rows("api.md") if re.fullmatch(r"`[a-z_]+`", cells[0])}
    assert written == set(ErrorCode)


def test_the_page_of_the_lifecycle_names_what_there_is():
    named = [cells for cells in rows("lifecycle.md") if len(cells) == 3]
    for name, module, _ in named:
        assert hasattr(import_module(f"hansa.server.lifecycle.{module.strip('`')}"), name.strip("` *")), name
    assert {cells[0].strip("` *") for cells in named if cells[0].endswith("*")} == set(lifecycle.__all__)


def test_the_page_of_the_lifecycle_has_every_setting_with_its_default():
    keys = {name.upper(): str(field.default) for name, field in Conf.__dataclass_fields__.items()}
    page = [cells for cells in rows("lifecycle.md") if len(cells) == 4]
    assert {cells[0].strip("`"): cells[2].strip("`") for cells in page if cells[0].strip("`").isupper()} == keys


def leaves(data, path=""):
    """A nested object as dotted paths; an empty object is a leaf."""
    if isinstance(data, dict) and data:
        return {name: value for key, child in data.items() for name, value in leaves(child, f"{path}{key}.").items()}
    return {path.rstrip("."): data}


def test_the_page_of_the_plan_has_every_field_with_its_default():
    defaults = leaves(to_data(parse({"rounds": 1})))
    every = [(cells[0].strip("`"), cells[2].strip("`")) for cells in rows("plan.md") if len(cells) > 2]
    written = dict(every[: 1 + [name for name, _ in every].index("seed")])  # below are tables of kinds
    of_other_kinds = {
        field.path
        for group in plan_fields.groups(schema())
        for field in group.fields
        if group.key in ("aggregator", "server_step")
    }
    assert written.keys() == defaults.keys() | of_other_kinds
    assert written["rounds"] == "must be given"
    del defaults["rounds"]
    assert {name: json.loads(written[name]) for name in defaults} == defaults


@pytest.mark.parametrize("block", [each for each in blocks(REFERENCE / "plan.md") if each.language == "json"])
def test_the_examples_of_plans_can_be_read(block):
    assert parse(json.loads(block.text)).rounds


def test_the_limits_in_the_page_of_the_plan_are_those_of_the_schema():
    found = json.dumps(schema())
    page = (REFERENCE / "plan.md").read_text()
    for limit in ("1000000", "100000"):
        assert limit in found
        assert f"{int(limit):,}" in page
    assert str(2**63 - 1) in found
    assert "2⁶³ - 1" in page


def test_the_readme_of_init_has_the_commands_of_the_tutorial():
    def commands(document):
        return [line for line in document.read_text().splitlines() if line.startswith("$ ")]

    ours = commands(ROOT / "src" / "hansa" / "cli" / "scaffold" / "README.md.txt")
    assert len(ours) > 10
    assert set(ours) <= {line.split("  #")[0] for line in commands(ROOT / "docs" / "tutorial" / "first-federation.md")}


UNITS = [block for block in blocks(ROOT / "docs" / "how-to" / "systemd.md") if block.language == "ini"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.directives["file"])
def test_the_units_call_commands_with_options_that_there_are(unit):
    [line] = re.findall(r"^ExecStart=/opt/hansa/bin/hansa (.+)$", unit.text, flags=re.MULTILINE)
    assert main([*line.split(), "--help"]) == 0
