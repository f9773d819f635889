"""What `as_view` makes of a class: rows V1 to V14."""

import re

import pytest
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import path
from django.utils.decorators import method_decorator
from rest_framework.authentication import SessionAuthentication
from rest_framework.decorators import action
from rest_framework.response import Response

from hansa.server.accounts.models import User
from hansa.server.lifecycle import middleware as in_place
from hansa.server.lifecycle.decorators import api_view
from hansa.server.lifecycle.views import APIView
from hansa.server.lifecycle.viewsets import ViewSet
from lifecycle.project import AWAITED, BARE, CLASSES, DRF_OF, VIEWSETS, WAYS, alike, bare, make_class, make_view


def hello(request, **kwargs):
    return Response({"hello": request.method})


@pytest.mark.parametrize("way", CLASSES)
def test_v1_the_view_remembers_its_class_and_its_keywords(way):
    cls = make_class(way, hello)
    view = cls.as_view(throttle_classes=())

    assert (view.cls, view.initkwargs) == (cls, {"throttle_classes": ()})
    assert (view.view_class, view.view_initkwargs) == (cls, {"throttle_classes": ()})


@pytest.mark.parametrize("way", VIEWSETS)
def test_v1_the_view_of_a_viewset_remembers_its_actions_too(way):
    cls = make_class(way, hello)
    view = cls.as_view({"get": "do_get"}, suffix="List")

    assert (view.cls, view.initkwargs, view.actions) == (cls, {"suffix": "List"}, {"get": "do_get"})


@pytest.mark.parametrize("way", WAYS)
def test_v2_every_view_is_exempt_from_csrf_and_keeps_its_coroutine_mark(way):
    view = make_view(way, hello)

    assert view.csrf_exempt is True
    assert iscoroutinefunction(view) is (way in AWAITED)


def test_v2_overriding_dispatch_does_not_lose_the_exemption():
    class Overriding(APIView):
        def dispatch(self, request, *args, **kwargs):
            return super().dispatch(request, *args, **kwargs)

        async def get(self, request):
            return Response()

    assert Overriding.as_view().csrf_exempt is True
    assert iscoroutinefunction(Overriding.as_view())


@pytest.mark.parametrize("handler", ["get", "post"])
async def test_v2_dispatch_may_be_overridden_by_a_coroutine_function(serve, handler):
    class Overriding(APIView):
        locals().update(BARE)

        async def dispatch(self, request, *args, **kwargs):
            response = await super().dispatch(request, *args, **kwargs)
            response["X-Passed"] = "dispatch"
            return response

        async def get(self, request):
            return Response()

        def post(self, request):
            return Response()

    answered = await serve(Overriding.as_view()).ask(handler.upper(), "/")

    assert (answered.status, answered.headers["X-Passed"]) == (200, "dispatch")


@pytest.mark.parametrize("checking", [CsrfViewMiddleware, in_place.CsrfViewMiddleware])
async def test_v2_the_middleware_lets_a_post_without_a_token_through(serve, way, checking):
    site = serve(make_view(way, hello, ["post"]), MIDDLEWARE=[checking])

    assert (await site.ask_json("POST", "/", {})).json == {"hello": "POST"}


@pytest.mark.parametrize("checking", [[], [in_place.CsrfViewMiddleware]])
async def test_v2_session_authentication_enforces_csrf_itself(serve, way, checking):
    """Who comes with a session, by a form of another site, is refused; a client without one is not asked."""

    def signed_in(get_response):
        async def middleware(request):
            request.user = User(username="bob") if "signed-in" in request.GET else None
            return await get_response(request)

        return middleware

    signed_in.async_capable, signed_in.sync_capable = True, False
    site = serve(
        make_view(way, hello, ["post"], authentication_classes=[SessionAuthentication]),
        MIDDLEWARE=[_marked(signed_in), *checking],
    )
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    token = "a" * 32

    refused = await site.ask("POST", "/?signed-in", b"a=1", form)
    assert (refused.status, refused.json) == (403, {"detail": "CSRF Failed: CSRF cookie not set."})
    sent = f"a=1&csrfmiddlewaretoken={token}".encode()
    assert (await site.ask("POST", "/?signed-in", sent, {**form, "Cookie": f"csrftoken={token}"})).status == 200
    assert (await site.ask("POST", "/", b"a=1", form)).status == 200


def _marked(factory):
    def made(get_response):
        return markcoroutinefunction(factory(get_response))

    made.async_capable, made.sync_capable = True, False
    return made


async def test_v3_the_view_opts_out_of_djangos_own_login_requirement(serve, way):
    def anonymous(get_response):
        def middleware(request):
            request.user = AnonymousUser()
            return get_response(request)

        return middleware

    view = make_view(way, hello)
    urls = [path("", view), path("django/", lambda request: HttpResponse())]
    site = serve(*urls, MIDDLEWARE=[anonymous, LoginRequiredMiddleware], LOGIN_URL="/login/")

    assert view.login_required is False
    assert [(await site.ask("GET", url)).status for url in ("/", "/django/")] == [200, 302]


GUARDED = re.escape("Do not evaluate the `.queryset` attribute directly")


@pytest.mark.parametrize("way", CLASSES)
async def test_v4_the_queryset_of_a_class_refuses_to_be_evaluated(way):
    cls = make_class(way, hello, queryset=User.objects.all())
    cls.as_view()

    for evaluate in (list, len, bool):
        with pytest.raises(RuntimeError, match=GUARDED):
            evaluate(cls.queryset)
    with pytest.raises(RuntimeError, match=GUARDED):
        _ = [user async for user in cls.queryset]
    with pytest.raises(RuntimeError, match=GUARDED):
        await cls.queryset.aget(pk=1)


@pytest.mark.django_db(transaction=True)
async def test_v4_copies_of_it_may_be_evaluated():
    cls = make_class("awaited class", hello, queryset=User.objects.all())
    cls.as_view()

    assert [user async for user in cls.queryset.all()] == []
    with pytest.raises(User.DoesNotExist):
        await cls.queryset.all().aget(username="nobody")


def make_view_of(cls):
    return cls.as_view({"get": "do_get"}) if issubclass(cls, ViewSet) else cls.as_view()


@pytest.mark.parametrize("way", CLASSES)
def test_v5_keywords_must_be_attributes_and_not_methods(way):
    cls = make_class(way, hello)

    with pytest.raises(
        TypeError, match=re.escape("The method name get is not accepted as a keyword argument to Example().")
    ):
        cls.as_view(get=hello)
    with pytest.raises(TypeError, match=re.escape("Example() received an invalid keyword 'unknown'.")):
        cls.as_view(unknown=1)


@pytest.mark.parametrize("way", VIEWSETS)
class TestKeywordsOfViewSets:
    def test_v6_actions_must_be_given(self, way):
        words = (
            "The `actions` argument must be provided when calling `.as_view()` on a ViewSet. "
            "For example `.as_view({'get': 'list'})`"
        )
        for nothing in ({}, None):
            with pytest.raises(TypeError) as caught:
                make_class(way, hello).as_view(nothing)
            assert str(caught.value) == words
        with pytest.raises(TypeError):
            make_class(way, hello).as_view()

    def test_v7_methods_are_no_keywords(self, way):
        with pytest.raises(TypeError) as caught:
            make_class(way, hello).as_view({"get": "do_get"}, get="do_get")
        assert str(caught.value) == (
            "You tried to pass in the get method name as a keyword argument to Example(). Don't do that."
        )

    def test_v8_keywords_must_be_attributes(self, way):
        with pytest.raises(TypeError) as caught:
            make_class(way, hello).as_view({"get": "do_get"}, unknown=1)
        assert str(caught.value) == "Example() received an invalid keyword 'unknown'"

    def test_v9_a_name_and_a_suffix_exclude_each_other(self, way):
        with pytest.raises(TypeError) as caught:
            make_class(way, hello).as_view({"get": "do_get"}, name="A", suffix="B")
        assert (
            str(caught.value) == "Example() received both `name` and `suffix`, which are mutually exclusive arguments."
        )

    def test_v10_the_reserved_attributes_are_the_routers(self, way):
        reserved = ("name", "description", "suffix", "detail", "basename")
        cls = make_class(way, hello, **dict.fromkeys(reserved, "mine"))
        view = cls.as_view({"get": "do_get"}, name="Named", detail=True)

        assert {getattr(cls, name) for name in reserved} == {None}
        assert view.initkwargs == {"name": "Named", "detail": True}


async def test_v11_head_is_answered_by_get_and_without_a_body(serve, way):
    theirs = await serve(make_view(DRF_OF[way], hello)).ask_wsgi("HEAD")
    ours = await serve(make_view(way, hello)).ask("HEAD")

    assert alike(ours, theirs)
    # A function is not asked for what it has not named: in DRF neither.
    assert ours.status == (405 if "function" in way else 200)
    assert ours.body == b""


@pytest.mark.parametrize("way", VIEWSETS)
async def test_v11_a_viewset_may_have_a_head_of_its_own(serve, way):
    def own(self, request):
        return Response(headers={"X-Own": "1"})

    cls = make_class(way, hello, own=own)

    assert (await serve(cls.as_view({"get": "do_get", "head": "own"})).ask("HEAD")).headers["X-Own"] == "1"
    view = cls.as_view({"get": "do_get"})
    await serve(view).ask("HEAD")
    assert view.actions == {"get": "do_get", "head": "do_get"}


@pytest.mark.parametrize("way", [way for way in WAYS if "function" not in way])
async def test_v12_each_request_has_an_instance_of_its_own(serve, way):
    seen = []

    def initialize_request(self, request, *args, **kwargs):
        seen.append((self, self.request is request, self.args, self.kwargs, args, kwargs))
        return super(cls, self).initialize_request(request, *args, **kwargs)

    def answers(request, number):
        view = request.parser_context["view"]
        return Response([view.request is request, view.args, view.kwargs])

    cls = make_class(way, answers, initialize_request=initialize_request)
    site = serve(path("<int:number>/", make_view_of(cls)))

    for number in (1, 2):
        assert (await site.ask("GET", f"/{number}/")).json == [True, [], {"number": number}]
    (first, *of_first), (second, *of_second) = seen
    assert first is not second
    assert of_first == [True, (), {"number": 1}, (), {"number": 1}]
    assert of_second == [True, (), {"number": 2}, (), {"number": 2}]


@pytest.mark.parametrize("awaited", [False, True])
async def test_v13_a_viewset_knows_its_action(serve, awaited):
    seen = []

    class Notes(ViewSet):
        locals().update(BARE)

        def initialize_request(self, request, *args, **kwargs):
            request = super().initialize_request(request, *args, **kwargs)
            seen.append((request.method, self.action, self.action_map, getattr(self, "get", None) == self.list))
            return request

        if awaited:

            async def list(self, request):
                return Response(self.action)
        else:

            def list(self, request):
                return Response(self.action)

    site = serve(Notes.as_view({"get": "list"}))
    actions = {"get": "list", "head": "list"}

    assert (await site.ask()).json == "list"
    assert (await site.ask("OPTIONS")).status == 200
    assert (await site.ask("DELETE")).status == 405
    assert seen == [
        ("GET", "list", actions, True),
        ("OPTIONS", "metadata", actions, True),
        ("DELETE", None, actions, True),
    ]


def test_v13_a_route_is_awaited_if_one_of_its_actions_is():
    class Both(ViewSet):
        def list(self, request):
            return Response()

        @action(detail=False)
        async def recent(self, request):
            return Response()

        async def helper(self):
            """No action, no hook: it decides nothing."""

    assert iscoroutinefunction(Both.as_view({"get": "recent"}))
    assert iscoroutinefunction(Both.as_view({"get": "list", "post": "recent"}))
    assert not iscoroutinefunction(Both.as_view({"get": "list"}))


@pytest.mark.parametrize("stated", [True, False])
def test_v13_whether_routes_are_awaited_can_be_stated_on_a_base_class(stated):
    class Stating(ViewSet):
        view_is_async = stated

    class Notes(Stating):
        def list(self, request):
            return Response()

    assert iscoroutinefunction(Notes.as_view({"get": "list"})) is stated


def marking(function):
    function.marked = "by a decorator"
    return function


@pytest.mark.parametrize("way", [way for way in WAYS if "function" not in way])
def test_v14_the_view_is_documented_as_its_class_and_keeps_what_decorators_of_dispatch_say(way):
    cls = method_decorator(marking, name="dispatch")(make_class(way, hello, __doc__="What it does."))
    view = make_view_of(cls)

    assert (view.__doc__, view.__module__) == ("What it does.", cls.__module__)
    assert view.marked == "by a decorator"
    assert iscoroutinefunction(view) is (way in AWAITED)
    assert way in CLASSES or view.__name__ == "Example"


@pytest.mark.parametrize("awaited", [False, True])
def test_v14_a_view_made_of_a_function_is_named_and_documented_as_it(awaited):
    def listing(request):
        """What it lists."""

    async def awaited_listing(request):
        """What it lists."""

    function = awaited_listing if awaited else listing
    view = api_view(["GET"])(bare(function))

    assert (view.cls.__name__, view.cls.__module__) == (function.__name__, __name__)
    assert view.__doc__ == "What it lists."
    assert iscoroutinefunction(view) is awaited
