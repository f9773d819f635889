"""A password that was found right is known for five minutes, for as long as the user's row has the same hash."""

import pytest

from hansa.server.accounts.credentials.passwords import SECONDS, VerifiedPasswords
from hansa.server.accounts.models import User
from hansa.server.lifecycle.bridge import call
from support.credentials import user_of_password

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def passwords(clock):
    return VerifiedPasswords(clock=clock)


def ada(stored="hash", backend=MODEL_BACKEND, **columns):
    user = User(username="ada", password=stored, **columns)
    user.backend = backend
    return user


def test_a_right_password_is_known_again(passwords):
    user = ada()
    passwords.remember(user, "correct horse")

    assert passwords.knows(User(id=user.id, password="hash"), "correct horse")


def test_any_other_is_not(passwords):
    user = ada()
    passwords.remember(user, "correct horse")

    for text in ("", "correct hors", "correct horse ", "Correct horse", "hash"):
        assert not passwords.knows(user, text)


def test_another_user_with_the_same_password_and_hash_is_not(passwords):
    passwords.remember(ada(), "correct horse")

    assert not passwords.knows(ada(), "correct horse")


def test_once_the_stored_hash_is_another_it_is_forgotten(passwords):
    user = ada()
    passwords.remember(user, "correct horse")
    user.password = "the same password, salted anew"

    assert not passwords.knows(user, "correct horse")


def test_it_is_forgotten_after_five_minutes_however_often_it_is_used(passwords, clock):
    user = ada()
    passwords.remember(user, "correct horse")
    clock.now += SECONDS - 0.001
    assert passwords.knows(user, "correct horse")
    clock.now += 0.001

    assert not passwords.knows(user, "correct horse")
    clock.now -= 1
    assert not passwords.knows(user, "correct horse"), "and is gone for good"
    assert SECONDS == 300


@pytest.mark.parametrize("backend", ["django.contrib.auth.backends.RemoteUserBackend", "example.ldap.Backend", None])
def test_what_other_backends_say_is_asked_of_them_each_time(passwords, backend):
    user = ada(backend=backend)
    passwords.remember(user, "correct horse")

    assert not passwords.knows(user, "correct horse")


def test_a_closed_account_is_not_remembered(passwords):
    user = ada(is_active=False)
    passwords.remember(user, "correct horse")

    assert not passwords.knows(user, "correct horse")


def test_a_bounded_number_is_remembered(clock):
    passwords = VerifiedPasswords(capacity=2, clock=clock)
    users = [ada() for _ in range(3)]
    for user in users:
        passwords.remember(user, "correct horse")

    assert [passwords.knows(user, "correct horse") for user in users] == [False, True, True]


def test_nothing_that_is_kept_shows_a_password_or_its_digest(passwords):
    user = ada()
    passwords.remember(user, "correct horse")

    (kept,) = passwords._verified._values.values()
    assert "correct" not in repr(kept)
    assert "mac" not in repr(kept)
    assert b"correct" not in kept.mac


@pytest.fixture
async def hashed(monkeypatch, settings, transactional_db):
    """The passwords that went through the slow hash."""
    from hansa.server.accounts import authentication

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    await call(User.objects.create_user, "ada", password="correct horse")
    through = []

    def note(*, username, password):
        through.append(password)
        return authenticate(username=username, password=password)

    authenticate = authentication.authenticate
    monkeypatch.setattr(authentication, "authenticate", note)
    return through


async def test_a_right_password_is_hashed_once(hashed):
    for _ in range(3):
        assert (await user_of_password("ada", "correct horse")).username == "ada"

    assert hashed == ["correct horse"]


async def test_wrong_passwords_and_unknown_names_are_hashed_each_time(hashed):
    await user_of_password("ada", "correct horse")
    for _ in range(2):
        assert await user_of_password("ada", "wrong") is None
        assert await user_of_password("ADA", "right for nobody") is None

    assert hashed == ["correct horse", "wrong", "right for nobody", "wrong", "right for nobody"]
    assert (await user_of_password("ada", "correct horse")).username == "ada"
    assert len(hashed) == 5, "and they do not make the right one be forgotten"


async def test_the_same_password_set_anew_is_hashed_anew(hashed):
    def set_again():
        user = User.objects.get(username="ada")
        user.set_password("correct horse")
        user.save()

    await user_of_password("ada", "correct horse")
    await call(set_again)
    await user_of_password("ada", "correct horse")

    assert hashed == ["correct horse"] * 2


async def test_a_password_whose_hash_was_renewed_on_the_way_is_known_by_the_new_one(hashed, settings):
    """Django replaces a hash of an old kind when it sees the password."""
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.ScryptPasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    for _ in range(2):
        assert (await user_of_password("ada", "correct horse")).password.startswith("scrypt$")

    assert hashed == ["correct horse"]


async def test_a_name_that_no_database_can_hold_is_refused_without_asking_it(hashed):
    assert await user_of_password("ada\0", "correct horse") is None
    assert hashed == []
