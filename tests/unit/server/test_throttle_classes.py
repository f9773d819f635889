"""Throttles have Django REST framework's interface, and count in memory, each class for itself."""

import uuid
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from rest_framework import views
from rest_framework.exceptions import Throttled
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate

from hansa.server.lifecycle.throttles import AddressRateThrottle, FailureLimit, RateThrottle, UserRateThrottle
from hansa.server.settings import THROTTLE_RATES
from support.ticks import NANOSECONDS, Ticks


@pytest.fixture
def ticks():
    return Ticks()


@pytest.fixture
def rates(settings):
    """Say what REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"] is."""

    def use(**rates):
        settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}

    return use


def someone():
    return SimpleNamespace(pk=uuid.uuid4(), is_authenticated=True)


def ask(*throttles, user=None, address="203.0.113.9"):
    """Ask a plain view of Django REST framework that has these throttles."""

    class Plain(views.APIView):
        authentication_classes = permission_classes = ()
        throttle_classes = throttles

        def get(self, request):
            return Response()

    request = APIRequestFactory().get("/", REMOTE_ADDR=address)
    force_authenticate(request, user or AnonymousUser())
    return Plain.as_view()(request)


def allowed(throttle, tries, **caller):
    return [ask(throttle, **caller).status_code for _ in range(tries)].count(200)


def limited(base, ticks, **attributes):
    """A throttle of the test's own, with the test's clock."""
    return type(f"Limited{base.__name__}", (base,), {"clock": ticks, **attributes})


def test_requests_are_counted_over_the_instances_of_a_class(ticks):
    throttle = limited(UserRateThrottle, ticks, rate="3/min")

    assert allowed(throttle, 5, user=someone()) == 3


def test_a_subclass_counts_for_itself(ticks):
    throttle, alice = limited(UserRateThrottle, ticks, rate="3/min"), someone()
    allowed(throttle, 3, user=alice)

    assert allowed(type("Another", (throttle,), {}), 5, user=alice) == 3


def test_a_user_is_counted_wherever_they_are_and_nobody_else_with_them(ticks):
    throttle, alice, bob = limited(UserRateThrottle, ticks, rate="2/min"), someone(), someone()

    assert [allowed(throttle, 1, user=alice, address=f"203.0.113.{i}") for i in range(3)] == [1, 1, 0]
    assert allowed(throttle, 1, user=bob) == 1


def test_the_rate_of_users_does_not_count_who_is_not_signed_in(ticks):
    assert allowed(limited(UserRateThrottle, ticks, rate="1/min"), 5) == 5


def test_an_address_is_counted_whoever_asks(ticks):
    throttle = limited(AddressRateThrottle, ticks, rate="3/min")

    assert [allowed(throttle, 1, user=someone()) for _ in range(4)] == [1, 1, 1, 0]
    assert allowed(throttle, 1) == 0
    assert allowed(throttle, 1, address="203.0.113.10") == 1


def test_a_whole_64_is_one_address(ticks):
    throttle = limited(AddressRateThrottle, ticks, rate="1/min")

    assert [allowed(throttle, 1, address=a) for a in ("2001:db8::1", "2001:db8::2:1", "2001:db8:0:1::1")] == [1, 0, 1]


def test_a_refusal_says_in_how_many_seconds_to_come_again_and_then_it_is_allowed(ticks):
    throttle, alice = limited(UserRateThrottle, ticks, rate="4/min"), someone()
    allowed(throttle, 4, user=alice)
    ticks.advance(4.5)

    refusal = ask(throttle, user=alice)

    assert (refusal.status_code, refusal["Retry-After"]) == (429, "11")
    ticks.advance(11)
    assert allowed(throttle, 2, user=alice) == 1


def test_of_several_refusals_the_longest_wait_is_told_whatever_their_order(ticks):
    for order in (1, -1):
        both = [limited(UserRateThrottle, ticks, rate="1/min"), limited(AddressRateThrottle, ticks, rate="1/hour")]
        alice = someone()
        assert ask(*both[::order], user=alice).status_code == 200

        assert ask(*both[::order], user=alice)["Retry-After"] == "3600"


def test_every_throttle_counts_even_after_one_has_refused(ticks):
    strict, lax = limited(UserRateThrottle, ticks, rate="1/hour"), limited(AddressRateThrottle, ticks, rate="4/hour")
    alice = someone()
    for _ in range(4):
        ask(strict, lax, user=alice)

    assert allowed(lax, 1) == 0


def test_a_throttle_promises_not_to_block():
    assert UserRateThrottle.in_place
    assert AddressRateThrottle.in_place


def test_rates_come_from_the_setting_by_scope_and_hold_at_once(ticks, rates):
    throttle, alice = limited(UserRateThrottle, ticks, scope="mine"), someone()

    rates(mine="2/min")
    assert allowed(throttle, 5, user=alice) == 2
    rates(mine="4/min")
    assert allowed(throttle, 5, user=alice) == 4
    rates(mine=None)
    assert allowed(throttle, 50, user=alice) == 50


def test_rates_may_be_given_to_the_class_as_in_django_rest_framework(ticks):
    throttle = limited(UserRateThrottle, ticks, THROTTLE_RATES={"user": "2/min"})

    assert allowed(throttle, 5, user=someone()) == 2


class Nameless(RateThrottle):
    def get_key(self, request, view):
        return "everybody"


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"rate": "lots"}, ["LimitedNameless.rate", "'lots'", "100/min"]),
        (
            {"scope": "user", "THROTTLE_RATES": {"user": "1/week"}},
            ['REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]["user"]', "'1/week'", "100/day"],
        ),
        ({"scope": "user", "THROTTLE_RATES": {"user": 100}}, ["'100' is not a rate"]),
        ({"scope": "x", "THROTTLE_RATES": {"user": None}}, ["LimitedNameless", '["x"]', "'user'", '"x": "100/min"']),
        ({"scope": "x", "THROTTLE_RATES": {}}, ["nothing"]),
        ({}, ["LimitedNameless", "neither a scope nor a rate"]),
    ],
)
def test_a_rate_that_cannot_be_used_is_told_with_where_it_stands(ticks, attributes, words):
    with pytest.raises(ImproperlyConfigured) as caught:
        ask(limited(Nameless, ticks, **attributes))

    for word in words:
        assert word in str(caught.value)


def test_a_throttle_must_say_whose_requests_it_counts(ticks):
    with pytest.raises(NotImplementedError, match=r"LimitedRateThrottle.*get_key"):
        ask(limited(RateThrottle, ticks, rate="1/s"))


@pytest.mark.parametrize("base", [UserRateThrottle, AddressRateThrottle])
def test_the_shipped_rates_do_not_meet_two_thousand_requests_a_second_for_half_a_minute(base, ticks):
    throttle = limited(base, ticks, THROTTLE_RATES=THROTTLE_RATES)
    request = SimpleNamespace(user=someone(), META={"REMOTE_ADDR": "203.0.113.9"}, headers={})

    for _ in range(30 * 2000):
        assert throttle().allow_request(request, None)
        ticks.now += NANOSECONDS // 2000


# failures


@pytest.fixture
def limit(ticks, rates):
    rates(guesses="3/min")
    return FailureLimit("guesses", detail="Too many guesses.", clock=ticks)


def test_after_too_many_failures_a_check_says_how_long_to_wait(limit, ticks):
    assert [limit.failed("alice") for _ in range(3)] == [False, False, True]

    with pytest.raises(Throttled, match=r"Too many guesses.*20 seconds") as caught:
        limit.check("alice")

    assert caught.value.wait == 20
    ticks.advance(20)
    limit.check("alice")


def test_checks_count_nothing_and_other_keys_nothing_either(limit):
    for _ in range(10):
        limit.check("alice")
        limit.failed("mallory")

    limit.check("alice")


def test_a_success_forgets_the_failures_of_its_key(limit):
    for key in ("alice", "alice", "alice", "bob", "bob", "bob"):
        limit.failed(key)

    limit.succeeded("alice")

    limit.check("alice")
    with pytest.raises(Throttled):
        limit.check("bob")


def test_failures_that_were_under_way_together_are_all_waited_for(limit):
    for _ in range(5):
        limit.check("mallory")
    for _ in range(5):
        limit.failed("mallory")

    with pytest.raises(Throttled) as caught:
        limit.check("mallory")

    assert caught.value.wait == 60


def test_all_failures_can_be_forgotten(limit):
    for _ in range(5):
        limit.failed("alice")

    limit.clear()

    limit.check("alice")


def test_without_a_rate_one_may_fail_for_ever(limit, rates):
    rates(guesses=None)

    assert not any(limit.failed("alice") for _ in range(100))
    limit.check("alice")
    limit.succeeded("alice")


def test_a_limit_without_a_rate_in_the_settings_says_which_is_missing(limit, rates):
    rates(user="1/s")

    with pytest.raises(ImproperlyConfigured, match=r"FailureLimit\('guesses'\) needs REST_FRAMEWORK.*\"guesses\""):
        limit.check("alice")
