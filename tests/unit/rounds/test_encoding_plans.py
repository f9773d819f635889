"""The encoding of a plan: what is offered to clients, and what is refused with its reason."""

import numpy as np
import pytest

from hansa.core.params import spec_of
from hansa.protocol.encodings import Encoding
from hansa.rounds import plan as plans
from hansa.rounds.encoding import check_encoding_of, offered
from hansa.rounds.plan import UnsoundPlanError
from hansa.server.dashboard.plan_words import told

SPEC = spec_of(
    {name: np.zeros(2, np.float32) for name in ("body.weight", "head.weight", "embedding.weight", "norm.mean")},
    buffers=frozenset({"norm.mean"}),
)
TIES = [["embedding.weight", "head.weight"]]


def plan(**encoding):
    return plans.parse({"rounds": 4, "encoding": encoding})


def test_a_plan_that_says_nothing_offers_nothing_and_says_so_when_it_is_shown():
    assert offered(plan().encoding) is None
    assert plans.to_data(plan())["encoding"] == {"content": "params", "dtype": "as_model", "params": None}


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ({"content": "difference"}, "A client sends what has changed in the params."),
        ({"dtype": "float16"}, "A client sends the params, as float16."),
        (
            {"content": "difference", "dtype": "bfloat16", "params": ["head.*", "body.bias"]},
            "A client sends what has changed in the params head.*, body.bias alone, as bfloat16.",
        ),
    ],
)
def test_what_is_asked_for_is_offered_and_told_in_words(encoding, words):
    parsed = plan(**encoding)
    assert offered(parsed.encoding) == Encoding(**encoding)
    assert words in told(parsed)
    assert plans.parse(plans.to_data(parsed)) == parsed


@pytest.mark.parametrize(
    "encoding",
    [
        {"dtype": "int8"},
        {"content": "gradient"},
        {"params": []},
        {"params": [""]},
        {"params": ["x"] * 65},
        {"width": 2},
    ],
)
def test_what_no_plan_may_hold_is_refused(encoding):
    with pytest.raises(UnsoundPlanError, match="encoding"):
        plan(**encoding)


def test_local_models_that_travel_have_to_be_whole():
    with pytest.raises(UnsoundPlanError, match="encoding is given in a daisy chain"):
        plans.parse({"rounds": 4, "daisy_chain": {"period": 2}, "encoding": {"dtype": "float16"}})


def test_a_pattern_without_a_param_is_refused_with_the_names_that_there_are():
    with pytest.raises(
        UnsoundPlanError, match=r"has 'tail\.\*', and the model has no param of that name; it has 'body"
    ):
        check_encoding_of(plan(params=["body.*", "tail.*"]).encoding, SPEC, [])


def test_a_buffer_is_no_param_to_choose():
    with pytest.raises(UnsoundPlanError, match=r"has 'norm\.mean'"):
        check_encoding_of(plan(params=["norm.mean"]).encoding, SPEC, [])


def test_names_of_one_array_are_chosen_together():
    with pytest.raises(UnsoundPlanError, match=r"leaves out 'embedding\.weight', which is one array"):
        check_encoding_of(plan(params=["head.*"]).encoding, SPEC, TIES)
    for params in (["head.*", "embedding.*"], ["body.*"], None):
        check_encoding_of(plan(params=params).encoding, SPEC, TIES)
