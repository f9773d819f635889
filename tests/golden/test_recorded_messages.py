"""Messages of earlier versions are read as they were, and what is answered today is readable by those who sent them."""

import hashlib
import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from golden.record import examples, messages, record
from golden.record import schema as schema_of
from hansa.protocol.tasks import Task

RECORDS = Path(__file__).parent / "protocol"
DIGESTS = {
    "v1": "12c676c68b83847a90b9fd652c379881f601fd6b208a85f1cc140e22e448a6da",
    "v2": "921efd39baa8ca8c6d644eb3a46bfd1a272a8e5fdc2787de548da93a994fc236",
    "v3": "3950ffd9a73945d8d928f44a093af363784e17fc03fb28cebb08647e27e0891d",
    "v4": "fd4d47b48638b5672e0b7fa06616ea834556577031de3a0414b581cec56aaf4a",
}
"""Of all that was recorded. Never to be changed: that it can still be read is what is tested."""

MESSAGES = messages()
RECORDED = [pytest.param(path, id=f"{path.parent.name} {path.stem}") for path in sorted(RECORDS.glob("*/*.json"))]
PROTOCOL = {"tasks.TaskRequest", "tasks.Task"}
"""They say which version is spoken; left out it is that of the code, which is all that may differ in them."""
KEPT_FROM_THEM = {"tasks.Task": {"kind": "calibrate"}}
"""Answers with such a field are given to nobody who asks in an earlier version: see `test_calibrated_versions.py`."""

TOLD_LESS = {"trainings.Spread"}
"""Since version 4 null where a participant may not know it. Earlier clients cannot read that, and say so: what they may
not know they are not told either."""


def recorded(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", DIGESTS)
def test_what_was_recorded_stays_as_it_was(version):
    digest = hashlib.sha256()
    for path in sorted((RECORDS / version).iterdir()):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())

    assert digest.hexdigest() == DIGESTS[version]


def test_every_version_is_recorded_and_none_twice(tmp_path):
    assert {path.name for path in RECORDS.iterdir()} == DIGESTS.keys()
    record(tmp_path / "v")
    with pytest.raises(SystemExit, match="never made again"):
        record(tmp_path / "v")


@pytest.mark.parametrize("path", RECORDED)
def test_a_message_that_was_recorded_is_read_as_it_was(path):
    """Requests by a newer server; answers by a newer client, whose server may be the older one."""
    was = recorded(path)
    message = MESSAGES[was["message"]]
    for example in was["examples"]:
        read = msgspec.to_builtins(msgspec.json.decode(json.dumps(example["sent"]), type=message))
        then = {name: _as_known(read[name], value) for name, value in example["read"].items()}
        if was["message"] in PROTOCOL and "protocol" not in example["sent"]:
            then["protocol"] = example["read"]["protocol"]
        assert then == example["read"]


def _as_known(value, known):
    """What is read today, without the fields that were not known then."""
    if isinstance(known, dict) and isinstance(value, dict):
        return {name: _as_known(value[name], part) for name, part in known.items() if name in value}
    if isinstance(known, list) and isinstance(value, list) and len(value) == len(known):
        return [_as_known(part, before) for part, before in zip(value, known, strict=True)]
    return value


@pytest.mark.parametrize("path", [each for each in RECORDED if recorded(each.values[0])["sent_by"] == "server"])
def test_what_is_answered_today_is_readable_by_who_knows_that_version_only(path):
    was = recorded(path)
    schema = jsonschema.Draft202012Validator(was["schema"])
    for answer in examples(MESSAGES[was["message"]]):
        on_the_wire = _on_the_wire(was["message"], answer)
        if was["message"] in TOLD_LESS and was["schema"] != schema_of(MESSAGES[was["message"]]):
            on_the_wire = {name: 0.5 if value is None else value for name, value in on_the_wire.items()}
        if not KEPT_FROM_THEM.get(was["message"], {"": None}).items() <= on_the_wire.items():
            schema.validate(on_the_wire)


def _on_the_wire(name, answer):
    """With what a server leaves out of no answer."""
    return msgspec.to_builtins(msgspec.convert(answer, MESSAGES[name]))


def test_a_change_that_breaks_a_reader_is_seen():
    was = recorded(RECORDS / "v1" / "tasks.Task.json")
    schema = jsonschema.Draft202012Validator(was["schema"])
    task = _on_the_wire("tasks.Task", examples(Task)[0])

    schema.validate(task)
    for broken in ({**task, "round": "3"}, {**task, "kind": "mend"}, {n: v for n, v in task.items() if n != "digest"}):
        with pytest.raises(jsonschema.ValidationError):
            schema.validate(broken)
