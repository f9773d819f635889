"""The API's own description is complete; that the server keeps to it says test_described_answers.py."""

import re
import subprocess
import sys

import pytest
from drf_spectacular.generators import SchemaGenerator

from support.serving import environment


@pytest.fixture(scope="module")
def document():
    return SchemaGenerator().get_schema(request=None, public=True)


def operations(document):
    return [(method, path, each) for path, item in document["paths"].items() for method, each in item.items()]


def test_it_is_generated_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "django", "spectacular", "--validate", "--fail-on-warn", "--file", tmp_path / "api.yml"],
        env={**environment(tmp_path / "home"), "DJANGO_SETTINGS_MODULE": "hansa.server.settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(document):
    names = [each["operationId"] for _, _, each in operations(document)]

    assert len(set(names)) == len(names)
    assert all(each["description"] for _, _, each in operations(document))


def test_every_operation_names_the_statuses_it_answers_with_one_by_one(document):
    for method, path, each in operations(document):
        assert any(status.startswith("2") for status in each["responses"]), (method, path)
        assert all(re.fullmatch("[234][0-9][0-9]", status) for status in each["responses"]), (method, path)


def test_all_operations_refuse_in_one_way(document):
    for method, path, each in operations(document):
        for status, response in each["responses"].items():
            if status >= "400":
                shown = response["content"]["application/json"]["schema"]
                assert shown == {"$ref": "#/components/schemas/Refusal"}, (method, path, status)


def test_nothing_is_referred_to_that_is_not_described(document):
    referred = set(re.findall(r"#/components/schemas/(\w+)", str(document)))

    assert referred <= document["components"]["schemas"].keys()
    assert "Refusal" in referred
