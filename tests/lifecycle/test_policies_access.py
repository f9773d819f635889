"""Authenticators, permissions and throttles, plain and awaited, alone, mixed and composed: rows P3, P4 and P5."""

import itertools

import pytest
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle, SimpleRateThrottle

from hansa.server.lifecycle.decorators import api_view, authentication_classes, permission_classes, throttle_classes
from lifecycle.project import CLASSES, DRF_CLASS, DRF_OF, alike, bare, make_view, place

KINDS = ("plain", "in place", "awaited")
"""The ways of writing a policy."""


class Person:
    is_authenticated = True

    def __init__(self, name):
        self.name = name


def hello(request, **kwargs):
    return Response({"user": getattr(request.user, "name", None), "auth": request.auth})


@pytest.fixture
def log():
    """Who was asked, and where."""
    return []


def authenticator(name, says, kind="plain", log=None):
    """One that knows `says` (None: nobody), or raises it."""

    def decide(self, request):
        if log is not None:
            log.append((name, place()))
        if isinstance(says, Exception):
            raise says
        return says and (Person(says), f"by {name}")

    async def adecide(self, request):
        return decide(self, request)

    members = {"authenticate_header": lambda self, request: f"Scheme {name}"}
    match kind:
        case "awaited":
            members["aauthenticate"] = adecide
        case _:
            members |= {"authenticate": decide, "in_place": kind == "in place"}
    return type(name, (BaseAuthentication,), members)


@pytest.mark.parametrize("kinds", [*itertools.product(KINDS, repeat=3)])
async def test_p3_authenticators_are_asked_in_turn_and_the_first_that_answers_wins(serve, log, kinds):
    said = [None, "bob", "carol"]
    chain = [authenticator(f"a{i}", says, kind, log) for i, (says, kind) in enumerate(zip(said, kinds, strict=True))]
    for way in CLASSES:
        log.clear()
        answered = await serve(make_view(way, hello, authentication_classes=chain)).ask()

        assert answered.json == {"user": "bob", "auth": "by a1"}
        assert [name for name, _ in log] == ["a0", "a1"]


@pytest.mark.parametrize("kind", KINDS)
async def test_p3_an_error_ends_the_chain_and_leaves_the_request_unauthenticated(serve, way, log, kind):
    left = []

    def looks_at_what_is_left(get_response):
        def middleware(request):
            response = get_response(request)
            left.append((request.user.is_authenticated, request.auth))
            return response

        return middleware

    refusal = AuthenticationFailed("Wrong.")
    chain = [authenticator("a0", None), authenticator("a1", refusal, kind, log), authenticator("a2", "bob", kind, log)]
    request = {"authentication_classes": chain}
    ours = await serve(make_view(way, hello, **request), MIDDLEWARE=[looks_at_what_is_left]).ask()

    assert (ours.status, ours.headers["WWW-Authenticate"]) == (401, "Scheme a0")
    assert ours.json == {"detail": "Wrong."}
    assert [name for name, _ in log] == ["a1"]
    assert left == [(False, None)]
    if kind != "awaited":
        theirs = await serve(make_view(DRF_OF[way], hello, **request)).ask_wsgi()
        assert alike(ours, theirs)


async def test_p3_nobody_is_anonymous(serve, way):
    chain = [authenticator("a0", None, "awaited"), authenticator("a1", None)]

    assert (await serve(make_view(way, hello, authentication_classes=chain)).ask()).json == {"user": None, "auth": None}


async def test_p3_plain_authenticators_share_one_thread_hop_and_awaited_ones_need_none(serve, awaited_way, log):
    chain = [authenticator("a0", None, "awaited", log), authenticator("a1", None, "in place", log)]
    chain += [authenticator("a2", None, "plain", log), authenticator("a3", "bob", "plain", log)]
    await serve(make_view(awaited_way, hello, authentication_classes=chain)).ask()

    places = dict(log)
    assert places["a0"] == places["a1"] == "loop"
    assert places["a2"] == places["a3"] != "loop"


async def test_p3_p4_p5_a_function_says_its_policies_by_decorators(serve):
    @api_view(["GET"])
    @bare
    @authentication_classes([authenticator("a0", "bob", "awaited")])
    @permission_classes([permission("p0", True, "awaited") & ~permission("p1", False)])
    @throttle_classes([throttle("t0", None)])
    async def view(request):
        return hello(request)

    assert (await serve(view).ask()).json == {"user": "bob", "auth": "by a0"}


# P4.


def permission(name, says, kind="plain", log=None, of_object=None):
    """One that says `says` of a request, and `of_object` (default: the same) of an object."""
    of_object = says if of_object is None else of_object

    def decide(self, request, view):
        if log is not None:
            log.append((name, place()))
        return says

    def decide_object(self, request, view, obj):
        if log is not None:
            log.append((f"{name} of {obj}", place()))
        return of_object

    async def adecide(self, request, view):
        return decide(self, request, view)

    async def adecide_object(self, request, view, obj):
        return decide_object(self, request, view, obj)

    members = {"message": f"{name} says no.", "code": name}
    match kind:
        case "awaited":
            members |= {"ahas_permission": adecide, "ahas_object_permission": adecide_object}
            # Were the plain ones asked as well, that would be wrong.
            members |= dict.fromkeys(("has_permission", "has_object_permission"), _never)
        case _:
            members |= {"has_permission": decide, "has_object_permission": decide_object}
            members["in_place"] = kind == "in place"
    return type(name, (BasePermission,), members)


def _never(*_):
    raise AssertionError("the awaited method is the one to ask")


@pytest.mark.parametrize("kinds", [*itertools.product(KINDS, repeat=3)])
async def test_p4_all_must_permit_and_the_first_that_does_not_ends_it(serve, log, kinds):
    said = [True, False, True]
    chain = [permission(f"p{i}", says, kind, log) for i, (says, kind) in enumerate(zip(said, kinds, strict=True))]
    for way in CLASSES:
        log.clear()
        answered = await serve(make_view(way, hello, permission_classes=chain)).ask()

        assert (answered.status, answered.json) == (403, {"detail": "p1 says no."})
        assert [name for name, _ in log] == ["p0", "p1"]


async def test_p4_every_way_of_making_a_view_asks_all_of_them(serve, way, log):
    chain = [permission(kind, True, kind, log) for kind in KINDS]
    answered = await serve(make_view(way, hello, permission_classes=chain)).ask()

    assert answered.status == 200
    assert [name for name, _ in log] == list(KINDS)


async def test_p4_plain_permissions_run_on_a_thread_and_the_others_on_the_loop(serve, awaited_way, log):
    chain = [permission(kind, True, kind, log) for kind in KINDS]
    await serve(make_view(awaited_way, hello, permission_classes=chain)).ask()

    places = dict(log)
    assert places["in place"] == places["awaited"] == "loop"
    assert places["plain"] != "loop"


COMPOSITIONS = {
    "a & b": lambda a, b: a & b,
    "a | b": lambda a, b: a | b,
    "~a": lambda a, b: ~a,
    "~(a & b)": lambda a, b: ~(a & b),
    "~(a | b)": lambda a, b: ~(a | b),
    "(~a & b) | (a & ~b)": lambda a, b: (~a & b) | (a & ~b),
    "a & (b | ~b)": lambda a, b: a & (b | ~b),
}


class Looked:
    """A handler body that asks for the object's permissions, whichever way the class offers it."""

    def get(self, request):
        self.check_object_permissions(request, "obj")
        return Response()

    async def aget(self, request):
        await self.acheck_object_permissions(request, "obj")
        return Response()

    @classmethod
    def view(cls, way, **attributes):
        body = cls.aget if way == "awaited class" else cls.get
        return make_view(way, hello, **{**attributes, "get": body})


@pytest.mark.parametrize("kinds", [*itertools.product(("plain", "awaited"), repeat=2)])
@pytest.mark.parametrize("composition", COMPOSITIONS)
async def test_p4_compositions_mean_what_they_mean_in_drf_whatever_their_operands_are(serve, composition, kinds):
    """For every answer of both operands about the request, and every answer of theirs about the object."""
    compose, asked_of = COMPOSITIONS[composition], []
    views = {way: Looked.view(way, permission_classes=asked_of) for way in (DRF_CLASS, *CLASSES)}
    site = serve(*(path(f"{way}/", view) for way, view in views.items()))
    for says in itertools.product((True, False), repeat=4):
        expected_log, log = [], []

        def operands(kinds, log, says=says):
            return [
                permission(name, of_request, kind, log, of_object)
                for name, kind, of_request, of_object in zip("ab", kinds, says[:2], says[2:], strict=True)
            ]

        asked_of[:] = [compose(*operands(("plain", "plain"), expected_log))]
        expected = await site.ask_wsgi("GET", f"/{DRF_CLASS}/")
        asked_of[:] = [compose(*operands(kinds, log))]
        for way in CLASSES:
            log.clear()
            answered = await site.ask("GET", f"/{way}/")

            assert alike(answered, expected), (way, says)
            assert [name for name, _ in log] == [name for name, _ in expected_log], (way, says)


async def test_p4_only_an_awaited_permission_makes_a_composition_leave_the_thread(serve, log):
    chain = [permission("a", True, "plain", log) & permission("b", True, "in place", log)]
    chain += [permission("c", True, "awaited", log) | permission("d", True, "plain", log)]
    await serve(make_view("awaited class", hello, permission_classes=chain)).ask()

    assert [(name, where == "loop") for name, where in log] == [("a", False), ("b", False), ("c", True)]


@pytest.mark.parametrize("kind", KINDS)
async def test_p4_a_permission_may_raise_its_own_refusal(serve, way, kind):
    class Raising(permission("raising", True, kind)):
        def has_permission(self, request, view):
            raise PermissionDenied("In my own words.")

        if kind == "awaited":

            async def ahas_permission(self, request, view):
                return self.has_permission(request, view)

    answered = await serve(make_view(way, hello, permission_classes=[Raising])).ask()

    assert (answered.status, answered.json) == (403, {"detail": "In my own words."})


# P5.


def throttle(name, wait, kind="plain", log=None):
    """One that refuses if it has something to say of waiting; False: refuses, and does not know for how long."""

    def decide(self, request, view):
        if log is not None:
            log.append((name, place()))
        return wait is None

    async def adecide(self, request, view):
        return decide(self, request, view)

    members = {"wait": lambda self: wait or None, "in_place": kind == "in place"}
    match kind:
        case "awaited":
            members |= {"aallow_request": adecide, "allow_request": _never}
        case _:
            members["allow_request"] = decide
    return type(name, (BaseThrottle,), members)


@pytest.mark.parametrize("kinds", [*itertools.product(KINDS, repeat=3)])
async def test_p5_every_throttle_is_consulted_also_after_one_has_refused(serve, log, kinds):
    waits = [2.0, None, 7.2]
    chain = [throttle(f"t{i}", wait, kind, log) for i, (wait, kind) in enumerate(zip(waits, kinds, strict=True))]
    for way in CLASSES:
        log.clear()
        answered = await serve(make_view(way, hello, throttle_classes=chain)).ask()

        assert (answered.status, answered.headers["Retry-After"]) == (429, "8")
        assert [name for name, _ in log] == ["t0", "t1", "t2"]


@pytest.mark.parametrize("waits", [(None,), (None, None), (3.0,), (False,), (False, 4.0), (5.0, False, 1.0)])
async def test_p5_who_is_refused_hears_what_drf_says(serve, way, waits):
    chain = [throttle(f"t{i}", wait) for i, wait in enumerate(waits)]
    theirs = await serve(make_view(DRF_OF[way], hello, throttle_classes=chain)).ask_wsgi()
    ours = await serve(make_view(way, hello, throttle_classes=chain)).ask()

    assert alike(ours, theirs)


class MinuteThrottle(ScopedRateThrottle):
    THROTTLE_RATES = {"seldom": "1/min", "often": "1000/min"}
    cache = None

    def __init__(self):
        super().__init__()
        self.cache = MinuteThrottle.cache


@pytest.mark.parametrize("scope", ["seldom", "often", None])
async def test_p5_the_scope_of_a_view_chooses_the_rate(serve, way, scope):
    MinuteThrottle.cache = _Cache()
    site = serve(make_view(way, hello, throttle_classes=[MinuteThrottle], throttle_scope=scope))

    assert [(await site.ask()).status for _ in range(2)] == [200, 429 if scope == "seldom" else 200]


class _Cache(dict):
    def set(self, key, value, timeout):
        self[key] = value


class AwaitedRateThrottle(SimpleRateThrottle):
    """One over an awaited cache."""

    rate = "1/min"
    kept: dict[str, int] = {}

    async def aallow_request(self, request, view):
        assert place() == "loop"
        self.kept["count"] = self.kept.get("count", 0) + 1
        return self.kept["count"] <= 1

    def wait(self):
        return 60.0


async def test_p5_a_throttle_over_an_awaited_cache_serves_plain_views_too(serve, way):
    AwaitedRateThrottle.kept.clear()
    site = serve(make_view(way, hello, throttle_classes=[AwaitedRateThrottle]))

    assert [(await site.ask()).status for _ in range(2)] == [200, 429]
