"""A plan as the fields of a form, made from the plan's schema: what plans may hold is offered, and nothing else. Pure.

A field that is left empty is not said, and the plan's default counts; so the JSON of a form is as short as the plan is
plain. What is not as the schema wants it goes on as the text that it is: the API's own check says what is wrong.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from hansa.server.dashboard import typed_json

Json = Mapping[str, Any]  # Any: any JSON

LABELS: Final[Mapping[str, tuple[str, str]]] = {
    "rounds": ("Rounds", "How often the clients train, and their updates are put together."),
    "keep_updates": ("Keep updates for so many rounds", "0: until their round is done."),
    "seed": ("Seed", "Decides what is drawn. Empty: drawn itself, and shown."),
    "cohort.fraction": ("Share of the participants", "Between 0 and 1. Empty: all of them, or a number of them."),
    "cohort.size": ("Number of clients", "Instead of a share."),
    "cohort.over_selection": ("Invite so many more", "As a share of them: 0.3 invites 30 % more."),
    "cohort.selection": ("Drawn", ""),
    "closing.quorum": ("Close at so many reports", "Empty: wait for every client that is alive."),
    "closing.deadline_seconds": ("Deadline, in seconds", "From the moment the first client takes its task."),
    "closing.min_reports": ("Fewest reports that count", "Empty: half of the clients."),
    "late.kind": ("Late updates", "discard: refused. fold: they count in the next round, with less weight."),
    "late.exponent": ("How much less they weigh", "a in (1 + staleness)^-a, for fold."),
    "late.max_staleness": ("Rounds they may be late", "For fold."),
    "participation.min_to_start": ("Clients to begin with", "The training waits until so many are there."),
    "participation.min_to_go_on": ("Clients to go on with", "With fewer it pauses by itself."),
    "participation.exclude_after": ("Exclude after so many failures", "In a row. Empty: never."),
    "transforms": ("Client transforms", 'A JSON list, such as [{"kind": "clip_norm", "bound": 10}].'),
    "aggregator.kind": ("Aggregator", "What makes one version of the clients' params. weighted_mean: FedAvg."),
    "aggregator.weighting": ("Clients weigh", "By their examples, or each alike: for means and the geometric median."),
    "aggregator.trim": ("Left out on either side", "As a share of the clients: 0.2; for trimmed_mean."),
    "aggregator.byzantine": ("Clients that may send anything", "For krum and multi_krum."),
    "aggregator.keep": ("Clients that are kept", "For multi_krum."),
    "aggregator.iterations": ("Iterations", "For geometric_median."),
    "aggregator.smoothing": ("Smallest distance that counts", "For geometric_median."),
    "aggregator.bound": ("Largest norm of an update", "For norm_bounded_mean."),
    "server_step.kind": ("Server step", "How the server goes toward the aggregate. identity: all the way."),
    "server_step.server_lr": ("Server's learning rate", "1: all the way; for adagrad, adam and yogi 0.01, say."),
    "server_step.momentum": ("Server's momentum", "What is kept of earlier rounds' updates; for momentum."),
    "server_step.beta_1": ("Decay of earlier updates", "For adagrad, adam and yogi."),
    "server_step.beta_2": ("Decay of their squares", "For adam and yogi."),
    "server_step.adaptivity": ("Adaptivity", "Updates far below it count by their size, larger ones by their sign."),
    "client.epochs": ("Epochs", "Each client's passes over its data, in a round."),
    "client.client_lr": ("Learning rate", "Empty: the client's own."),
    "client.momentum": ("Momentum", "Empty: the client's own."),
    "client.proximal_mu": ("FedProx's \N{GREEK SMALL LETTER MU}", "Holds clients near the version; 0: FedAvg."),
    "client.extra": ("More for the trainer", "A JSON object, handed over unread."),
    "evaluation.every": ("Test every so many versions", "By the clients, on their own data; 0: never."),
    "uncertainty.method": ("Method", "Where the uncertainty of an answer comes from."),
    "uncertainty.samples": ("Passes of an answer", "For mc_dropout and swag."),
    "uncertainty.softmax": ("Softmax after each pass", "For mc_dropout, where the model gives logits."),
    "uncertainty.calibration.temperature": ("Calibrate the temperature", "By sums that clients report."),
    "uncertainty.calibration.scores": ("Calibrate sets or intervals", "By this score of the clients' examples."),
    "encoding.content": ("Updates are", "difference: only what has changed since the version is sent."),
    "encoding.dtype": (
        "Numbers sent as",
        "float16 and bfloat16 take half the bytes of float32. as_model: not narrowed.",
    ),
    "encoding.params": ("Params that are sent", 'A JSON list of names or patterns, such as ["head.*"]. Empty: all.'),
    "daisy_chain.period": ("Daisy chain: aggregate every so many rounds", "Between, local models travel."),
}
"""Of a field that is not here, its own name is the label."""
TITLES: Final = {
    "": "The training",
    "cohort": "Who is asked",
    "closing": "When a round closes",
    "late": "Who comes late",
    "participation": "Who takes part",
    "client": "At the clients",
    "aggregator": "Putting together",
    "server_step": "At the server",
    "evaluation": "Testing",
    "uncertainty": "Uncertainty",
    "daisy_chain": "Travelling models",
    "encoding": "How updates are sent",
}
FIRST: Final = ("", "client", "closing", "uncertainty")
"""The groups that most people look at; the others are folded."""
Kind = Literal["whole", "number", "choice", "switch", "json"]
KINDS: Final[Mapping[str, Kind]] = {
    "integer": "whole",
    "number": "number",
    "boolean": "switch",
    "object": "json",
    "array": "json",
}
"""By the type that a JSON Schema names."""
PRESETS: Final[Mapping[str, tuple[str, Json]]] = {
    "fedavg": ("FedAvg", {"rounds": 20}),
    "fedprox": ("FedProx", {"rounds": 20, "client": {"proximal_mu": 0.01}}),
    "robust": (
        "Robust to failures",
        {
            "rounds": 20,
            "closing": {"deadline_seconds": 3600},
            "late": {"kind": "fold"},
            "participation": {"exclude_after": 5},
        },
    ),
    "byzantine": (
        "Robust to bad updates",
        {
            "rounds": 20,
            "aggregator": {"kind": "trimmed_mean", "trim": 0.2},
            "closing": {"deadline_seconds": 3600},
            "participation": {"exclude_after": 5},
        },
    ),
    "fedadam": (
        "FedAdam",
        {"rounds": 20, "server_step": {"kind": "adam", "server_lr": 0.01}, "client": {"client_lr": 0.05}},
    ),
    "uncertain": ("Uncertain (SWAG)", {"rounds": 20, "uncertainty": {"method": "swag", "samples": 30}}),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a plan may say."""

    path: str
    """From the plan, with dots between."""
    kind: Kind
    default: Any  # Any: any JSON
    choices: Sequence[str] = ()
    required: bool = False

    @property
    def name(self) -> str:
        """Of the form's field."""
        return f"plan.{self.path}"

    @property
    def label(self) -> str:
        """What people read."""
        return LABELS.get(self.path, (self.path.rpartition(".")[2].replace("_", " ").capitalize(), ""))[0]

    @property
    def help(self) -> str:
        """What the label leaves open."""
        return LABELS.get(self.path, ("", ""))[1]

    @property
    def hint(self) -> str:
        """What counts where the field is empty."""
        return "" if self.default in (None, {}, []) else str(self.default)

    def read(self, text: str) -> Any:  # Any: any JSON
        """What a text says; the text itself where it says nothing of that kind."""
        with suppress(ValueError):
            match self.kind:
                case "whole":
                    return int(text)
                case "number":
                    return int(text) if text.isdecimal() else float(text)
                case "json":
                    return typed_json.read(text)
        return text == "true" if self.kind == "switch" else text


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that belong together."""

    key: str
    fields: Sequence[Field]
    kind: str = ""
    """Of the section, unless another is asked for; empty for one that has no kinds."""

    @property
    def title(self) -> str:
        """What people read."""
        return TITLES.get(self.key, self.key.replace("_", " ").capitalize())

    @property
    def first(self) -> bool:
        """Whether most people look at it."""
        return self.key in FIRST


def groups(schema: Json) -> Sequence[Group]:
    """The form of a plan with this JSON Schema."""
    found: dict[str, list[Field]] = {}
    for field in _once(_fields(schema, schema["$defs"]["Plan"], "")):
        found.setdefault(field.path.rpartition(".")[0].partition(".")[0], []).append(field)
    order = [*(key for key in TITLES if key in found), *(key for key in found if key not in TITLES)]
    properties = schema["$defs"]["Plan"]["properties"]
    kinds = {key: (properties.get(key, {}).get("default") or {}).get("kind", "") for key in order if key}
    return [Group(key, found[key], kinds.get(key, "")) for key in order]


def _once(fields: Iterable[Field]) -> Iterable[Field]:
    """What several kinds of a section have is one field; where they default to different things, to none."""
    found: dict[str, Field] = {}
    for field in fields:
        before = found.setdefault(field.path, field)
        if before.default != field.default:
            found[field.path] = replace(before, default=None)
    return found.values()


def _fields(schema: Json, of: Json, before: str) -> Iterator[Field]:
    required = of.get("required", ())
    for name, prop in of["properties"].items():
        path = f"{before}{name}"
        variants = [each for each in _variants(schema, prop) if each.get("type") != "null"]
        kinds = [kind for each in variants for kind in each.get("properties", {}).get("kind", {}).get("enum", ())]
        if len(kinds) > 1:
            yield Field(f"{path}.kind", "choice", prop["default"]["kind"], kinds)
        for each in variants:
            if "properties" in each:
                yield from _fields(schema, each, f"{path}.")
        field = None if any("properties" in each for each in variants) else _simple(path, variants[0], prop)
        if field is not None:
            yield Field(field.path, field.kind, field.default, field.choices, not before and name in required)


def _variants(schema: Json, prop: Json) -> Sequence[Json]:
    """A schema with its references followed, or each of those that it may be."""
    resolved = schema["$defs"][prop["$ref"].rpartition("/")[2]] if "$ref" in prop else prop
    if "anyOf" in resolved:
        return [each for one in resolved["anyOf"] for each in _variants(schema, one)]
    return [resolved]


def _simple(path: str, of: Json, prop: Json) -> Field | None:
    default = prop.get("default")
    if "enum" in of:
        choices = [str(each) for each in of["enum"]]
        is_open = len(choices) > 1 or "default" not in prop  # a kind of which there is but one is no question
        return Field(path, "choice", default, choices) if is_open and path.rpartition(".")[2] != "kind" else None
    kind = KINDS.get(of.get("type", ""))
    return None if kind is None else Field(path, kind, default)


def plan_of(form: Sequence[Group], said: Mapping[str, str]) -> dict[str, Any]:  # Any: any JSON
    """The plan that a filled-in form asks for, without what is as it would be anyway."""
    plan: dict[str, Any] = {}  # Any: as above
    for field in (field for group in form for field in group.fields):
        text = said.get(field.name, "").strip()
        if not text or (field.read(text) == field.default and not field.required):
            continue
        *parents, last = field.path.split(".")
        place = plan
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = field.read(text)
    for group in form:
        if group.kind and group.key in plan:
            plan[group.key] = {"kind": group.kind, **plan[group.key]}
    return plan


def said_by(form: Sequence[Group], plan: Json) -> dict[str, str]:
    """The texts with which a form asks for this plan."""
    said = {}
    for field in (field for group in form for field in group.fields):
        value: Any = plan  # Any: any JSON
        for part in field.path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            plain = isinstance(value, str)
            said[field.name] = value if plain else json.dumps(value)
    return said
