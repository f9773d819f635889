"""One attempt to tell a receiver: where it goes, what it says, how long it waits, and what the answer means."""

import asyncio
import socket
import ssl
import threading
import uuid
from ipaddress import ip_address

import pytest
import trustme

from hansa import __version__
from hansa.server.lifecycle.tracing import step
from hansa.server.notifications import sending
from hansa.server.notifications.models import State
from hansa.server.notifications.sending import Sender
from hansa.tracecontext import Span
from support.receiver import Receiver, answers, closes, floods, hangs, redirects, says

ID = uuid.UUID("6f0e1f6e-3f8b-4a5e-9a53-0d6d3f6b2a11")
CONTENT = b'{"notification_type":"TRAINING_START"}'


@pytest.fixture(autouse=True)
def this_machine(allow):
    allow("127.0.0.0/8")


@pytest.fixture
def limit(monkeypatch):
    """Make short what a test waits for, and nothing else: on a busy machine all the rest may take its time."""

    def limit(**seconds):
        for what, value in seconds.items():
            monkeypatch.setattr(sending, f"{what.upper()}_SECONDS", value)

    return limit


@pytest.fixture
def told():
    """Tell a URL something; the answer."""

    async def tell(url, **options):
        sender = Sender(**options)
        try:
            return await sender.tell(url=url, message_id=ID, content=CONTENT)
        finally:
            sender.close()

    return tell


async def test_it_posts_the_message_as_json_with_its_id_and_nothing_of_ours(receiver, told, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    answer = await told(f"http://127.0.0.1:{receiver.port}/a%20path?and=query")

    assert answer.state is State.DELIVERED
    (request,) = receiver.told
    assert request.line == "POST /a%20path?and=query HTTP/1.1"
    assert request.content == CONTENT
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": f"hansa/{__version__}",
        "accept": "*/*",
        "content-type": "application/json",
        "content-length": str(len(CONTENT)),
        "connection": "close",
        "hansa-notification-id": str(ID),
    }


async def test_it_says_which_trace_it_is_a_step_of(receiver, told):
    with step(Span("ab" * 16, "cd" * 8, flags=1, state="rojo=1")):
        await told(f"http://127.0.0.1:{receiver.port}/")

    (request,) = receiver.told
    assert request.headers["traceparent"] == f"00-{'ab' * 16}-{'cd' * 8}-01"
    assert request.headers["tracestate"] == "rojo=1"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_delivered(receiver, told, status):
    receiver.then = [answers(status)]

    assert (await told(receiver.url)).state is State.DELIVERED


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        *((300, "300 Multiple Choices"), (303, "303 See Other"), (304, "304 Not Modified"), (400, "400 Bad Request")),
        *((404, "404"), (429, "429"), (500, "500 Internal Server Error"), (503, "503"), (599, "599")),
    ],
)
async def test_any_other_answer_is_a_rejection_and_not_tried_again(receiver, told, status, shown):
    receiver.then = [answers(status, "Location: /elsewhere")]

    answer = await told(receiver.url)

    assert answer.state is State.REJECTED
    assert f"answered {shown}" in answer.reason
    assert "Whatever" not in answer.reason, "what a receiver writes there is its own"
    assert len(receiver.told) == 1


async def test_cookies_are_not_kept(receiver, told):
    receiver.then = [answers(307, "Set-Cookie: a=b", "Location: /again"), answers(200)]

    await told(receiver.url)

    assert len(receiver.told) == 2
    assert all("cookie" not in request.headers for request in receiver.told)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_followed_with_the_same_request(receiver, told, status):
    async with Receiver().listening() as elsewhere:
        receiver.then = [redirects(f"{elsewhere.url}?more", status)]

        assert (await told(receiver.url)).state is State.DELIVERED

    (request,) = elsewhere.told
    assert request.line == "POST /told?more HTTP/1.1"
    assert (request.content, request.id) == (CONTENT, str(ID))
    assert request.headers["host"] == f"127.0.0.1:{elsewhere.port}"


async def test_a_redirect_may_be_relative(receiver, told):
    receiver.then = [redirects("next"), redirects("/third?x"), answers(200)]

    assert (await told(receiver.url)).state is State.DELIVERED

    assert [request.line.split()[1] for request in receiver.told] == ["/told", "/next", "/third?x"]


async def test_the_fourth_redirect_is_a_rejection(receiver, told):
    receiver.then = [redirects("/round/and/round")]

    answer = await told(receiver.url)

    assert (answer.state, answer.reason) == (State.REJECTED, "its endpoint redirected more than 3 times")
    assert len(receiver.told) == 4


@pytest.mark.parametrize(
    "target",
    [
        *("http://192.0.2.1/", "http://169.254.169.254/latest/", "//10.0.0.1/", "http://[::1]/", "http://2130706433/"),
        *("file:///etc/passwd", "http://u:p@127.0.0.1/", "ftp://127.0.0.1/", "http://127.0.0.1:0/", "http://[/"),
    ],
)
async def test_a_redirect_to_where_it_may_not_go_is_a_rejection(receiver, told, target):
    receiver.then = [redirects(target)]

    answer = await told(receiver.url)

    assert answer.state is State.REJECTED
    assert "redirected to where it may not" in answer.reason


async def test_a_redirect_to_a_name_that_resolves_to_where_it_may_not_go_is_a_rejection(receiver, told):
    receiver.then = [redirects(f"http://inner.example:{receiver.port}/")]

    answer = await told(receiver.url, resolve=lambda name, port: [ip_address("10.9.9.9")])

    assert answer.state is State.REJECTED
    assert "inner.example" in answer.reason
    assert "10.9.9.9" not in answer.reason


async def test_an_endpoint_that_is_not_allowed_any_more_is_not_asked(receiver, told, allow):
    allow("elsewhere")

    answer = await told(receiver.url)

    assert answer.state is State.DROPPED
    assert "HANSA_PUSH_ALLOW" in answer.reason
    assert receiver.told == []


async def test_a_name_is_allowed_by_its_addresses(receiver, told):
    asked = []

    def resolve(name, port):
        asked.append((name, port))
        return [ip_address("127.0.0.1")]

    answer = await told(f"http://Anna.Example.:{receiver.port}/", resolve=resolve)

    assert answer.state is State.DELIVERED
    assert asked == [("anna.example", receiver.port)]
    assert receiver.told[0].headers["host"] == f"anna.example:{receiver.port}"


async def test_one_address_that_is_not_allowed_spoils_the_name(receiver, told):
    addresses = [ip_address("127.0.0.1"), ip_address("10.9.9.9")]

    answer = await told(f"http://anna.example:{receiver.port}/", resolve=lambda name, port: addresses)

    assert answer.state is State.DROPPED
    assert "anna.example" in answer.reason
    assert "10.9.9.9" not in answer.reason
    assert receiver.told == []


async def test_a_name_that_is_listed_is_trusted(receiver, told, allow):
    allow("anna.example")

    answer = await told(f"http://anna.example:{receiver.port}/", resolve=lambda name, port: [ip_address("127.0.0.1")])

    assert answer.state is State.DELIVERED


async def test_the_connection_goes_to_the_address_that_was_checked(receiver, told):
    """DNS rebinding: the name says one thing when it is checked, and another a moment later."""
    sayings = iter([[ip_address("127.0.0.1")], [ip_address("10.9.9.9")]])

    answer = await told(f"http://anna.example:{receiver.port}/", resolve=lambda name, port: next(sayings))

    assert answer.state is State.DELIVERED
    assert len(receiver.told) == 1
    assert next(sayings) == [ip_address("10.9.9.9")], "it was resolved once"


async def test_the_next_address_is_tried_if_the_first_does_not_answer(receiver, told):
    addresses = [ip_address("127.0.0.2"), ip_address("127.0.0.1")]

    answer = await told(f"http://anna.example:{receiver.port}/", resolve=lambda name, port: addresses)

    assert answer.state is State.DELIVERED


def nobody_knows(name, port):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_a_name_that_does_not_resolve_is_tried_again(told):
    answer = await told("http://anna.example/", resolve=nobody_knows)

    assert answer.state is State.PENDING
    assert "anna.example does not resolve" in answer.reason


async def test_where_nobody_listens_is_tried_again(receiver, told):
    async with Receiver().listening() as gone:
        pass

    answer = await told(gone.url)

    assert answer.state is State.PENDING
    assert "Connection refused" in answer.reason


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (closes, "closed the connection"),
        (says(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), "no HTTP"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: some\r\n\r\n"), "no HTTP"),
        (says(b"HTTP/1.1 20"), "closed the connection"),
        (says(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000), "no HTTP"),
    ],
)
async def test_what_is_no_answer_is_tried_again(receiver, told, behaviour, words):
    receiver.then = [behaviour]

    answer = await told(receiver.url)

    assert answer.state is State.PENDING
    assert words in answer.reason
    assert "SSH" not in answer.reason, "nothing of what it sent"


@pytest.mark.parametrize("behaviour", [hangs, says(b"HTTP/1.1 100 Continue\r\n\r\n", then_waits=True)])
async def test_a_receiver_that_hangs_is_given_up_and_tried_again(receiver, told, limit, behaviour):
    limit(answer=0.4)
    receiver.then = [behaviour]

    answer = await told(receiver.url)

    assert answer.state is State.PENDING
    assert "no answer within 0.4 s" in answer.reason


async def test_redirects_have_one_time_together(receiver, told, limit):
    limit(answer=0.4)

    async def slowly(writer):
        await asyncio.sleep(0.25)
        await redirects("/on")(writer)

    receiver.then = [slowly]

    answer = await told(receiver.url)

    assert answer.state is State.PENDING
    assert "no answer within 0.4 s" in answer.reason, "each hop was quick enough for itself"
    assert len(receiver.told) <= 2


async def test_a_resolver_that_hangs_is_given_up_and_tried_again(told, limit):
    limit(connect=0.2)
    let_go = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(name, port):
        asyncio.run_coroutine_threadsafe(let_go.wait(), loop).result()
        return []

    answer = await told("http://anna.example/", resolve=hang)
    let_go.set()

    assert answer.state is State.PENDING
    assert "no connection within 0.2 s" in answer.reason


async def test_a_name_that_hangs_keeps_one_thread_however_often_it_is_asked_for(receiver, limit, monkeypatch):
    limit(connect=0.2)
    monkeypatch.setattr(sending, "RESOLVERS", 2)
    let_go, asked = threading.Event(), []

    def resolve(name, port):
        asked.append(name)
        if name == "slow.example":
            let_go.wait(20)
        return [ip_address("127.0.0.1")]

    sender = sending.Sender(resolve=resolve)
    send = {"message_id": uuid.uuid4(), "content": b"{}"}
    try:
        slow = await asyncio.gather(*(sender.tell(url="http://slow.example/", **send) for _ in range(5)))
        limit(connect=30, answer=30)
        quick = await sender.tell(url=f"http://quick.example:{receiver.port}/", **send)
    finally:
        let_go.set()
        sender.close()

    assert {answer.state for answer in slow} == {State.PENDING}
    assert quick.state is State.DELIVERED
    assert asked == ["slow.example", "quick.example"]


@pytest.mark.parametrize(
    "behaviour",
    [
        floods(b"HTTP/1.1 202 Accepted\r\n\r\n"),
        floods(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"),
        says(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nslow", then_waits=True),
        says(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nshort"),
        says(b"HTTP/1.0 202 Accepted\r\n\r\n", then_waits=True),
    ],
)
async def test_the_status_counts_whatever_follows_it(receiver, told, limit, behaviour):
    limit(rest=0.1)
    receiver.then = [behaviour]

    assert (await told(receiver.url)).state is State.DELIVERED


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def certified(authority, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_tls_is_verified_against_the_name_not_the_address(authority, trust, told):
    async with Receiver().listening(tls=certified(authority, "anna.example")) as receiver:
        there = {"trust": trust, "resolve": lambda name, port: [ip_address("127.0.0.1")]}

        right = await told(f"https://anna.example:{receiver.port}/", **there)
        wrong = await told(f"https://bert.example:{receiver.port}/", **there)
        by_address = await told(receiver.url, **there)

    assert right.state is State.DELIVERED
    assert wrong.state is by_address.state is State.PENDING
    assert "certificate verify failed" in wrong.reason
    assert len(receiver.told) == 1


async def test_a_certificate_of_nobody_known_is_not_believed(authority, told):
    async with Receiver().listening(tls=certified(authority, "127.0.0.1")) as receiver:
        answer = await told(receiver.url)

    assert answer.state is State.PENDING
    assert "certificate verify failed" in answer.reason


async def test_a_redirect_from_https_to_http_is_a_rejection(authority, trust, told, receiver):
    async with Receiver(redirects(receiver.url)).listening(tls=certified(authority, "127.0.0.1")) as secure:
        answer = await told(secure.url, trust=trust)

    assert answer.state is State.REJECTED
    assert "from https to http" in answer.reason
    assert receiver.told == []
