"""How a client talks to a server: whom it trusts, what it sends, and what it makes of the answers."""

import ssl
import threading
import warnings

import pytest
import trustme
from scripted_server import TOKEN, ScriptedServer, cut, status

from hansa.client import ApiError, BadAnswer, CredentialsRefused, NotTrusted, Transport, Unreachable, UsageError
from hansa.client.address import UnencryptedWarning
from hansa.protocol.tasks import HeartbeatAnswer


def html(handler):
    handler.send_response(502)
    handler.send_header("Content-Length", "6")
    handler.end_headers()
    handler.wfile.write(b"<html>")
    return True


def redirect(handler):
    handler.reply(302, {}, {"Location": "https://elsewhere.example/"})
    return True


@pytest.mark.parametrize(
    "url", ["ftp://host", "host:8000", "https://", "", "http://h/?q=1", "http://h/#f", "http://h:x/"]
)
def test_what_is_not_a_servers_address_is_refused(url):
    with pytest.raises(UsageError, match="wanted is"):
        Transport(url)


def test_credentials_do_not_stand_in_the_url():
    with pytest.raises(UsageError, match="pass a token instead") as refusal:
        Transport("http://anna:secret@localhost")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
        (" https://host/fl/ ", "https://host/fl"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_a_servers_address_may_have_a_path_and_a_trailing_slash(url, seen):
    assert Transport(url).url == seen


def test_below_a_path_the_api_is_below_that_path(server):
    with Transport(f"{server.url}/fl/", TOKEN) as transport, pytest.raises(ApiError):
        transport.call("GET", "/api/x/")
    assert server.requests == ["GET /fl/api/x/"]


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "schlüssel"])
def test_what_cannot_be_a_token_is_refused_without_repeating_it(token):
    with pytest.raises(UsageError, match="Was the right file read") as refusal:
        Transport("http://localhost", token)
    assert not token or token not in str(refusal.value)


def test_a_tokens_file_may_end_with_a_line_break(server):
    with Transport(server.url, f"{TOKEN}\n") as transport:
        assert transport.request("HEAD", "/api/tasks/1/update/x/").status_code == 200


def test_an_unknown_token_is_told_apart_from_other_refusals(server):
    with (
        Transport(server.url, "wrong") as transport,
        pytest.raises(CredentialsRefused, match=r"no such token \[401 .*hansa enroll"),
    ):
        transport.call("GET", "/api/users/myself/")


def test_a_refusal_carries_status_code_and_reason(server, transport):
    server.fail_once("GET", "/api/", status(429, "throttled", "slow down", Retry_After="7"))
    with pytest.raises(ApiError, match=r"^slow down \[429 throttled\]$") as refusal:
        transport.call("GET", "/api/models/")
    assert (refusal.value.status, refusal.value.code, refusal.value.retry_after) == (429, "throttled", 7.0)


def test_field_errors_are_told_by_field(server, transport):
    def fields(handler):
        handler.reply(400, {"name": ["Too long.", "Too odd."], "plan": ["Unsound."]})
        return True

    server.fail_once("GET", "/api/", fields)
    with pytest.raises(ApiError, match=r"name: Too long\. Too odd\.; plan: Unsound\.") as refusal:
        transport.call("GET", "/api/models/")
    assert refusal.value.code == "invalid"
    assert refusal.value.errors["plan"] == ["Unsound."]


def test_a_proxys_error_page_is_an_error_with_a_hint(server, transport):
    server.fail_once("GET", "/api/", html)
    with pytest.raises(ApiError, match=r"502 Bad Gateway without saying why\. Is a proxy"):
        transport.call("GET", "/api/models/")


def test_an_answer_of_another_kind_is_not_understood(server, transport):
    with pytest.raises(BadAnswer, match="Is the URL that of a Hansa server"):
        transport.call("HEAD", "/api/tasks/1/update/x/", into=HeartbeatAnswer)


def test_redirects_are_not_followed(server, transport):
    server.fail_once("GET", "/api/", redirect)
    with pytest.raises(BadAnswer, match=r"points to https://elsewhere\.example/"):
        transport.call("GET", "/api/models/")


def test_no_server_is_unreachable():
    with ScriptedServer() as gone:
        url = gone.url
    with Transport(url) as transport, pytest.raises(Unreachable, match="Is the server running"):
        transport.call("GET", "/api/models/")


def test_a_connection_that_breaks_off_is_unreachable_and_the_next_call_works(server, transport):
    server.fail_once("HEAD", "/update/", cut)
    with pytest.raises(Unreachable, match="broke off"):
        transport.request("HEAD", "/api/tasks/1/update/x/")
    assert transport.request("HEAD", "/api/tasks/1/update/x/").status_code == 200


def test_a_server_that_does_not_answer_in_time_is_unreachable(server, transport):
    with pytest.raises(Unreachable, match=r"nothing moved for 0\.05 s"):
        transport.request("POST", "/api/tasks/next/", params={"wait": 20}, content=b"{}", timeout=0.05)


def test_a_call_can_be_interrupted_from_another_thread_and_so_are_later_ones(server, transport):
    def interrupt():
        assert server.parked.wait(10)
        transport.interrupt()

    threading.Thread(target=interrupt).start()
    with pytest.raises(Unreachable):
        transport.request("POST", "/api/tasks/next/", params={"wait": 20}, content=b"{}")
    with pytest.raises(Unreachable, match="stopped"):
        transport.call("GET", "/api/models/")
    with transport.again() as another, pytest.raises(ApiError):  # a second transport is not concerned
        another.call("GET", "/api/models/")


def test_basic_credentials_are_sent_as_such(server):
    seen = []
    server.fail_once("GET", "/api/", lambda handler: seen.append(handler.headers["Authorization"]))
    with Transport(server.url, basic=("anna", "secret")) as transport, pytest.raises(CredentialsRefused):
        transport.call("GET", "/api/models/")
    assert seen == ["Basic YW5uYTpzZWNyZXQ="]


def test_environment_proxies_are_not_asked_for_this_machine(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Transport(server.url, TOKEN) as transport:
        assert transport.request("HEAD", "/api/tasks/1/update/x/").status_code == 200


def test_credentials_over_plain_http_to_another_machine_are_warned_of():
    with pytest.warns(UnencryptedWarning, match="travel unencrypted"):
        Transport("http://192.0.2.1:8000", TOKEN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Transport("http://192.0.2.1:8000")  # nothing to lose
        for private in ("http://127.0.0.1:8000", "http://localhost", "http://[::1]:1", "https://192.0.2.1"):
            Transport(private, TOKEN)


@pytest.fixture
def tls(server, tmp_path):
    """The scripted server behind TLS, and the file of its private authority."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    return server.url.replace("http:", "https:"), ca


def test_a_private_authority_is_trusted_when_it_is_named(tls):
    url, ca = tls
    with Transport(url, TOKEN, ca=ca) as transport:
        assert transport.request("HEAD", "/api/tasks/1/update/x/").status_code == 200


def test_a_certificate_of_an_unknown_authority_is_not_trusted(tls):
    with (
        Transport(tls[0], TOKEN) as transport,
        pytest.raises(NotTrusted, match="name that one's certificate with `ca`"),
    ):
        transport.request("HEAD", "/api/tasks/1/update/x/")


def test_a_certificate_of_another_host_is_not_trusted(tls):
    url, ca = tls
    with Transport(url.replace("127.0.0.1", "localhost"), ca=ca) as transport, pytest.raises(NotTrusted):
        transport.call("GET", "/api/models/")


def test_a_call_over_tls_can_be_interrupted_too(tls, server):
    url, ca = tls
    with Transport(url, TOKEN, ca=ca) as transport:

        def interrupt():
            assert server.parked.wait(10)
            transport.interrupt()

        threading.Thread(target=interrupt).start()
        with pytest.raises(Unreachable):
            transport.request("POST", "/api/tasks/next/", params={"wait": 20}, content=b"{}")


@pytest.mark.parametrize("content", [None, "not PEM"])
def test_an_authority_that_cannot_be_read_is_told(content, tmp_path):
    ca = tmp_path / "ca.pem"
    if content:
        ca.write_text(content)
    with pytest.raises(UsageError, match="authority's certificate"):
        Transport("https://localhost", ca=ca)
