"""Every message of the wire: it survives JSON, and unknown fields are an error from clients and none from servers."""

import json

import msgspec
import pytest
from msgspec import inspect as types

from hansa.protocol import accounts, base, calibration, errors, models, tasks, trainings
from hansa.protocol.accounts import InvitationCreate, TokenCreate
from hansa.protocol.base import Answer, Request
from hansa.protocol.models import ModelCreate
from hansa.protocol.tasks import Heartbeat, Task, TaskKind, TaskRelease, TaskReport, TaskRequest
from hansa.protocol.trainings import ClientList, TrainingCreate

DIGEST = "0123456789abcdef" * 4
MESSAGES = [
    message
    for module in (accounts, calibration, errors, models, tasks, trainings)
    for message in vars(module).values()
    if isinstance(message, type) and issubclass(message, Request | Answer) and message.__module__ == module.__name__
]
REQUESTS = [message for message in MESSAGES if issubclass(message, Request)]
ANSWERS = [message for message in MESSAGES if issubclass(message, Answer)]


def sample(kind: types.Type) -> object:
    """Some valid JSON value of a type. The patterns of the wire are those of digests and user names."""
    match kind:
        case types.StructType(fields=fields):
            return {field.encode_name: sample(field.type) for field in fields}
        case types.Metadata(type=inner):
            return sample(inner)
        case types.StrType(pattern=pattern):
            lengths = [length for length in (64, 40) if pattern and str(length) in pattern]
            return DIGEST[: lengths[0]] if lengths else "alice"
        case types.IntType() | types.FloatType():
            return 1
        case types.BoolType():
            return True
        case types.NoneType():
            return None
        case types.ListType(item_type=item):
            return [sample(item)]
        case types.DictType(value_type=value):
            return {"loss": sample(value)}
        case types.EnumType(cls=enum):
            return next(iter(enum)).value
        case types.LiteralType(values=values):
            return values[0]
        case types.UnionType(types=members):
            return sample(members[0])
        case types.AnyType():
            return {"anything": [1, None]}
    raise AssertionError(f"messages hold no {kind} so far; say here what one looks like")


def data_of(message: type[msgspec.Struct]) -> dict[str, object]:
    data = sample(types.type_info(message))
    assert isinstance(data, dict)
    return data


def test_the_messages_are_found() -> None:
    assert {Task, TaskReport, TrainingCreate, Heartbeat} <= set(MESSAGES)
    assert len(REQUESTS) >= 8
    assert len(ANSWERS) >= 20


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_survives_json(message: type[msgspec.Struct]) -> None:
    original = msgspec.json.decode(json.dumps(data_of(message)), type=message)
    assert msgspec.json.decode(msgspec.json.encode(original), type=message) == original
    assert msgspec.convert(msgspec.to_builtins(original), message) == original


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_does_not_change(message: type[msgspec.Struct]) -> None:
    original = msgspec.convert(data_of(message), message)
    for name in message.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(original, name, None)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_can_be_described_by_a_schema(message: type[msgspec.Struct]) -> None:
    assert msgspec.json.schema(message)["$defs"]


@pytest.mark.parametrize("message", [message for message in REQUESTS if message is not ModelCreate])
def test_a_request_with_an_unknown_field_is_refused(message: type[msgspec.Struct]) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `typing_error`"):
        msgspec.convert(data_of(message) | {"typing_error": 1}, message)


def test_a_new_model_is_a_form_in_which_other_fields_are_not_looked_at() -> None:
    assert msgspec.convert({"name": "m", "typing_error": 1}, ModelCreate) == ModelCreate(name="m")


@pytest.mark.parametrize("message", ANSWERS)
def test_an_answer_with_a_field_of_a_newer_server_is_read(message: type[msgspec.Struct]) -> None:
    data = data_of(message)
    assert msgspec.convert(data | {"of_a_newer_server": 1}, message) == msgspec.convert(data, message)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_without_a_required_field_is_refused_and_the_field_is_named(message: type[msgspec.Struct]) -> None:
    required = [field.encode_name for field in types.type_info(message).fields if field.required]
    for name in required:
        data = data_of(message)
        del data[name]
        with pytest.raises(msgspec.ValidationError, match=f"missing required field `{name}`"):
            msgspec.convert(data, message)


@pytest.mark.parametrize(
    ("message", "changes", "reason"),
    [
        (TaskReport, {"num_examples": 0}, ">= 1"),
        (TaskReport, {"num_examples": -3}, ">= 1"),
        (TaskReport, {"num_examples": 2**53 + 1}, "<= 9007199254740992"),
        (TaskReport, {"num_examples": 1.5}, "`float`"),
        (TaskReport, {"num_examples": "many"}, "`str`"),
        (TaskReport, {"num_examples": True}, "`bool`"),
        (TaskReport, {"digest": DIGEST.upper()}, "matching regex"),
        (TaskReport, {"digest": DIGEST[1:]}, "matching regex"),
        (TaskReport, {"digest": "../" + DIGEST}, "length <= 64"),
        (TaskReport, {"digest": DIGEST + "\n"}, "length <= 64"),
        (TaskReport, {"metrics": {"loss": "low"}}, "`str`"),
        (TaskReport, {"metrics": {"": 1.0}}, "length >= 1"),
        (TaskReport, {"metrics": {"x" * 65: 1.0}}, "length <= 64"),
        (TaskReport, {"metrics": [0.5]}, "`array`"),
        (TaskReport, {"seconds": -1}, ">= 0"),
        (TaskRequest, {"instance": ""}, "length >= 1"),
        (TaskRequest, {"instance": "x" * 65}, "length <= 64"),
        (TaskRelease, {"reason": ""}, "length >= 1"),
        (TaskRelease, {"reason": "x" * 501}, "length <= 500"),
        (Heartbeat, {"progress": 1.01}, "<= 1"),
        (Heartbeat, {"progress": -0.01}, ">= 0"),
        (ClientList, {"clients": []}, "length >= 1"),
        (TrainingCreate, {"plan": []}, "`array`"),
        (TrainingCreate, {"clients": "bob"}, "`str`"),
        (InvitationCreate, {"username": "a b"}, "matching regex"),
        (InvitationCreate, {"username": "<script>"}, "matching regex"),
        (InvitationCreate, {"username": "alice\n"}, "matching regex"),
        (InvitationCreate, {"username": ""}, "length >= 1|matching regex"),
        (InvitationCreate, {"expires_in_seconds": 0}, "> 0"),
        (TokenCreate, {"expires_in_seconds": 1e12}, "<= "),
    ],
)
def test_values_outside_their_range_are_refused(
    message: type[msgspec.Struct], changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=reason):
        msgspec.convert(data_of(message) | changes, message)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_a_metric_that_is_not_finite_does_not_pass_as_json(number: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(f'{{"num_examples":1,"metrics":{{"loss":{number}}}}}', type=TaskReport)


def test_a_task_carries_whole_seeds_and_tells_an_old_client_the_protocol() -> None:
    task = msgspec.convert(data_of(Task) | {"seed": 2**63 - 1, "kind": "train"}, Task)
    assert msgspec.json.decode(msgspec.json.encode(task), type=Task).seed == 2**63 - 1
    assert task.kind is TaskKind.TRAIN
    assert Task.__struct_defaults__[-1] == base.PROTOCOL_VERSION


def test_error_codes_read_as_words() -> None:
    assert all(code.value == code.name.lower() for code in errors.ErrorCode)
