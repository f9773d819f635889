"""What becomes of each row of the DLR platform, by what is here already."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from hansa.server.accounts.secrets import digest
from hansa.server.coming_over import survey
from hansa.server.coming_over.errors import ComingOverError
from hansa.server.coming_over.report import Entry, Fate, Kind, gathered
from hansa.server.coming_over.rows import Group, Metric, Model, ModelKind, Token, Training, User
from hansa.server.coming_over.target import Target

NOW = datetime(2024, 5, 6, tzinfo=UTC)
NOTHING = Target({}, {}, frozenset(), {}, {})
LIMIT = 1000


def user(username="alice", **fields):
    row = {
        "id": uuid4(),
        "username": username,
        "password": "pbkdf2_sha256$1000$salt$aGFzaA==",
        "first_name": "",
        "last_name": "",
        "email": "",
        "is_active": True,
        "is_staff": False,
        "is_superuser": False,
        "date_joined": NOW,
        "last_login": None,
        "actor": False,
        "client": False,
        "message_endpoint": "",
    }
    return User(**{**row, **fields})


def model(owner, **fields):
    row = {
        "id": uuid4(),
        "owner_id": owner.id,
        "round": 0,
        "kind": ModelKind.GLOBAL,
        "name": "net",
        "description": "",
        "input_shape": None,
        "weights": 100,
        "preprocessing": None,
        "first_moment": None,
        "second_moment": None,
        "members": (),
    }
    return Model(**{**row, **fields})


def roll(*rows, fate=Fate.TAKEN):
    """Entries of these rows, all with one fate."""
    return {row.id: Entry(Kind.USER, str(row.id), getattr(row, "username", "net"), fate) for row in rows}


def judged(row, owner, models=None, target=NOTHING):
    return survey.model(row, roll(owner), models or {}, target, LIMIT)


class TestGroups:
    def test_a_new_one_is_taken(self):
        assert survey.group(Group(3, "clinics"), NOTHING) == Entry(Kind.GROUP, "3", "clinics", Fate.TAKEN)

    def test_one_of_the_same_name_is_the_same(self):
        assert survey.group(Group(3, "clinics"), Target({"clinics": 9}, {}, frozenset(), {}, {})).fate is Fate.HERE

    def test_one_whose_number_is_used_here_gets_another_and_says_so(self):
        entry = survey.group(Group(3, "clinics"), Target({"others": 3}, {}, frozenset(), {}, {}))

        assert entry.fate is Fate.TAKEN
        assert "gets a new one" in entry.remarks[0]


class TestUsers:
    def test_a_name_that_somebody_else_has_here_is_in_the_way(self):
        alice = user()

        entry = survey.users([alice], Target({}, {"alice": uuid4()}, frozenset(), {}, {}), ())[alice.id]

        assert entry.fate is Fate.REFUSED
        assert "rename" in entry.reason

    def test_one_with_the_same_id_is_here_whatever_its_name(self):
        alice = user()

        assert (
            survey.users([alice], Target({}, {"alicia": alice.id}, frozenset(), {}, {}), ())[alice.id].fate is Fate.HERE
        )

    def test_two_that_differ_in_case_are_both_taken_with_a_remark(self):
        rows = [user("Alice"), user("alice"), user("bob")]

        entries = survey.users(rows, NOTHING, ())

        assert [entries[row.id].fate for row in rows] == [Fate.TAKEN] * 3
        assert ["case only" in "".join(entries[row.id].remarks) for row in rows] == [True, True, False]

    def test_nobody_stays_staff_unless_named(self):
        rows = [user("alice", is_staff=True), user("bob", is_superuser=True, is_staff=True)]

        entries = survey.users(rows, NOTHING, ["bob"])

        assert entries[rows[0].id].remarks[0].startswith("is no longer staff")
        assert entries[rows[1].id].remarks == ("stays staff and superuser, as --keep-staff says",)

    def test_naming_somebody_without_such_rights_is_an_error(self):
        with pytest.raises(ComingOverError, match="'carol', who has no staff rights there; bob has"):
            survey.users([user("bob", is_staff=True), user("carol")], NOTHING, ["carol"])

    @pytest.mark.parametrize(("encoded", "known"), [("!x", True), ("md5x", False), ("", False)])
    def test_a_password_that_cannot_be_checked_here_is_told(self, encoded, known):
        alice = user(password=encoded)

        assert bool(survey.users([alice], NOTHING, ())[alice.id].remarks) is not known


class TestTokens:
    KEY = "0123456789abcdef" * 2 + "01234567"

    def test_one_comes_with_its_user(self):
        alice = user()
        entry = survey.token(Token(self.KEY, alice.id, NOW), roll(alice), NOTHING)

        assert entry == Entry(Kind.TOKEN, str(alice.id), "alice", Fate.TAKEN)
        assert self.KEY not in repr(entry)

    def test_one_of_a_user_who_is_here_does_not_come_back(self):
        alice = user()
        assert survey.token(Token(self.KEY, alice.id, NOW), roll(alice, fate=Fate.HERE), NOTHING).fate is Fate.HERE

    @pytest.mark.parametrize("key", ["short", KEY.upper(), KEY[:-1] + "g"])
    def test_one_that_nobody_could_present_is_refused(self, key):
        alice = user()
        assert survey.token(Token(key, alice.id, NOW), roll(alice), NOTHING).fate is Fate.REFUSED

    def test_one_that_is_known_here_is_refused(self):
        alice, here = user(), Target({}, {}, frozenset({digest(self.KEY)}), {}, {})
        assert survey.token(Token(self.KEY, alice.id, NOW), roll(alice), here).fate is Fate.REFUSED


class TestModels:
    def test_one_of_a_user_who_is_not_taken_waits_for_that_user(self):
        alice = user()
        entry = survey.model(model(alice), roll(alice, fate=Fate.REFUSED), {}, NOTHING, LIMIT)

        assert (entry.fate, entry.reason) == (Fate.REFUSED, "its owner alice is not taken")

    def test_one_that_is_here_is_not_looked_at_again(self):
        alice = user()
        row = model(alice, weights=0)
        assert judged(row, alice, target=Target({}, {}, frozenset(), {row.id: 0}, {})).fate is Fate.HERE

    def test_local_ones_are_left_behind(self):
        alice = user()
        assert judged(model(alice, kind=ModelKind.LOCAL, name=None), alice).fate is Fate.LEFT

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"kind": ModelKind.NONE}, "incomplete"),
            ({"weights": 0}, "no weights"),
            ({"weights": None}, "no weights"),
            ({"weights": LIMIT + 1}, "HANSA_MAX_MODEL_BYTES"),
            ({"kind": ModelKind.MEAN}, "mean of no models"),
        ],
    )
    def test_what_is_wrong_with_one_is_said(self, fields, said):
        alice = user()
        entry = judged(model(alice, **fields), alice)

        assert entry.fate is Fate.REFUSED
        assert said in entry.reason

    def test_a_mean_needs_all_of_its_members(self):
        alice = user()
        taken, refused, missing = model(alice), model(alice, name="bad"), uuid4()
        models = {**roll(taken), **roll(refused, fate=Fate.REFUSED)}

        def fate(*members):
            return judged(model(alice, kind=ModelKind.MEAN, members=members, weights=0), alice, models)

        assert fate(taken.id).fate is Fate.TAKEN
        assert "is not taken" in fate(taken.id, refused.id).reason
        assert "a mean itself" in fate(missing).reason

    @pytest.mark.parametrize(
        "shape", [[], [0], [-1, 2], [[1, 2], [3, 4]], [2**31], [1] * 33, "nonsense", "[1, x]", [True, 1.5]]
    )
    def test_a_shape_that_is_none_is_left_out(self, shape):
        alice = user()
        entry = judged(model(alice, input_shape=shape), alice)

        assert entry.fate is Fate.TAKEN
        assert "is left out" in entry.remarks[0]


class TestTrainings:
    def fate(self, *, people, known, models=None, target=NOTHING, **fields):
        row = {
            "id": uuid4(),
            "model_id": known.id,
            "actor_id": people[0].id,
            "state": "I",
            "target_num_updates": 1,
            "last_update": NOW,
            "uncertainty_method": "NONE",
            "aggregation_method": "FedAvg",
            "options": {},
            "participants": tuple(each.id for each in people[1:]),
        }
        fates = {**roll(*people), **fields.pop("fates", {})}
        return survey.training(Training(**{**row, **fields}), known, fates, models or roll(known), target)

    def test_one_with_all_whom_it_needs_is_taken(self):
        alice, bob = user(), user("bob")
        assert self.fate(people=[alice, bob], known=model(alice)).fate is Fate.TAKEN

    def test_one_waits_for_every_participant(self):
        alice, bob = user(), user("bob")
        entry = self.fate(people=[alice, bob], known=model(alice), fates=roll(bob, fate=Fate.REFUSED))

        assert entry.reason == "bob, who belongs to it, is not taken"

    def test_one_waits_for_its_model(self):
        alice = user()
        known = model(alice)
        entry = self.fate(people=[alice], known=known, models=roll(known, fate=Fate.REFUSED))

        assert entry.reason == "its model is not taken"

    def test_a_model_that_was_given_another_training_here_keeps_it(self):
        alice = user()
        known = model(alice)
        entry = self.fate(people=[alice], known=known, target=Target({}, {}, frozenset(), {}, {uuid4(): known.id}))

        assert "another training here" in entry.reason

    def test_one_of_a_mean_is_taken_only_if_it_was_never_started(self):
        alice = user()
        known = model(alice, kind=ModelKind.MEAN)

        assert self.fate(people=[alice], known=known).fate is Fate.TAKEN
        assert self.fate(people=[alice], known=known, state="O").fate is Fate.REFUSED


def test_metrics_are_compared_by_step_reporter_and_key():
    alice, stranger = user(), user("eve")
    people = {**roll(alice), **roll(stranger, fate=Fate.REFUSED)}
    steps = [Metric(step, alice.id, "loss", 0.5, None) for step in (1, 3, 4)]

    sorts = survey.metrics(
        [*steps, Metric(3, stranger.id, "loss", 1.0, None)], people, {(1, alice.id, "loss")}, first_round=2
    )

    assert [row.step for row in sorts.taken] == [4]
    assert (sorts.here, sorts.strangers, sorts.early) == (1, 1, 1)


@pytest.mark.parametrize(
    ("value", "binary", "number", "text"),
    [
        (0.5, None, 0.5, None),
        (0.5, b"both", 0.5, None),
        (float("nan"), None, None, b"nan"),
        (float("-inf"), None, None, b"-inf"),
        (None, b"\xff\x00", None, b"\xff\x00"),
    ],
)
def test_a_metric_is_a_finite_number_or_bytes(value, binary, number, text):
    row = Metric(0, uuid4(), "loss", value, binary)
    assert (row.number, row.text) == (number, text)


def test_entries_that_are_alike_are_told_as_one():
    left = Entry(Kind.MODEL, "", "local models", Fate.LEFT, "why")

    assert gathered([left, Entry(Kind.GROUP, "1", "g", Fate.HERE), left]) == (
        Entry(Kind.MODEL, "", "local models", Fate.LEFT, "why", count=2),
        Entry(Kind.GROUP, "1", "g", Fate.HERE),
    )
