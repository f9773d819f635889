"""A client's endpoint is a URL to which the operator lets the server send; whoever writes it oddly gains nothing."""

from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hansa.server.accounts.endpoints import EndpointError, check, checked, parse, require_allowed
from hansa.server.destinations import DestinationError, Destinations


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://client-01/", ["'ftp'", "http:// or https://"]),
        ("client-01:8101", ["'client-01'", "http:// or https://"]),
        ("//client-01/", ["''", "http:// or https://"]),
        ("file:///etc/passwd", ["'file'"]),
        ("http:///path", ["no host"]),
        ("http://user@client-01/", ["user name or password"]),
        ("http://:@client-01/", ["user name or password"]),
        ("http://client-01/#part", ["fragment"]),
        ("http://client-01/#", ["fragment"]),
        ("http://client-01:0/", ["port 0"]),
        ("http://client-01:65536/", ["cannot be read"]),
        ("http://client-01:http/", ["cannot be read"]),
        ("http://client-01 /", ["space"]),
        ("http://client-01/\n", ["space"]),
        ("http://client-01/\x00", ["another character"]),
        ("http://client-01\\@elsewhere/", ["another character"]),
        ("http://client-01/\ud800", ["another character"]),
        ("http://[::1/", ["cannot be read"]),
        ("http://[client-01]/", ["cannot"]),
        ("http://client..example/", ["no host name"]),
        ("http://-client/", ["no host name"]),
        ("http://%63lient-01/", ["no host name"]),
        ("http://client-01../", ["no host name"]),
        (f"http://{'a' * 64}/", ["no host name"]),
        ("http://[fe80::1%25eth0]/", ["zone"]),
        ("http://client-01/" + "x" * 500, ["517 characters", "at most 500"]),
        *((f"http://{host}/", ["four of them"]) for host in ("2130706433", "0x7f000001", "017700000001", "127.1")),
        *((f"http://{host}/", ["four of them"]) for host in ("0177.0.0.1", "0x7f.0.0.1", "127.0.0.0x1", "0x")),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_the_reason(allow, url, words):
    allow("client-01,0.0.0.0/0,::/0,127.0.0.0/8")

    with pytest.raises(EndpointError) as refusal:
        check(url)

    for word in words:
        assert word in str(refusal.value)


def test_a_refusal_does_not_repeat_a_password(allow):
    allow("client-01")

    for url in (
        "http://anna:s3cret@client-01/",
        "ftp://anna:s3cret@client-01/",
        "http://anna:s3cret@[/",
        "http://anna:s3cret@a℀/",
    ):
        with pytest.raises(EndpointError) as refusal:
            check(url)
        assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://client-01:8101/", ("http", "client-01", 8101, "/", "client-01:8101")),
        ("http://client-01", ("http", "client-01", 80, "/", "client-01")),
        ("HTTPS://Client-01.:443/A?b=c&d=%20", ("https", "client-01", 443, "/A?b=c&d=%20", "client-01")),
        ("http://client-01:/x", ("http", "client-01", 80, "/x", "client-01")),
        (
            "https://büro.example/grüße",
            ("https", "xn--bro-hoa.example", 443, "/gr%C3%BC%C3%9Fe", "xn--bro-hoa.example"),
        ),
        ("http://BÜRO.example/", ("http", "xn--bro-hoa.example", 80, "/", "xn--bro-hoa.example")),
        ("http://[FD00:0::1]:8101/", ("http", ip_address("fd00::1"), 8101, "/", "[fd00::1]:8101")),
        ("http://[::ffff:10.1.2.3]/", ("http", ip_address("10.1.2.3"), 80, "/", "10.1.2.3")),
        ("http://10.1.2.3./", ("http", ip_address("10.1.2.3"), 80, "/", "10.1.2.3")),
        ("http://\uff11\uff10.1.2.3/", ("http", ip_address("10.1.2.3"), 80, "/", "10.1.2.3")),
        ("http://client_01/", ("http", "client_01", 80, "/", "client_01")),
    ],
)
def test_every_spelling_of_a_url_is_read_as_one(url, endpoint):
    parts = parse(url)

    assert (parts.scheme, parts.host, parts.port, parts.target, parts.authority) == endpoint


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("client-01", "http://client-01:8101/"),
        ("client-01", "http://CLIENT-01./"),
        ("Client-01.", "http://client-01/"),
        ("*.clinic.example", "https://a.clinic.example/"),
        ("*.clinic.example", "https://a.b.Clinic.example/"),
        ("*.büro.example", "https://a.xn--bro-hoa.example/"),
        ("10.0.0.0/8", "http://10.255.255.255/"),
        ("10.1.2.3", "http://10.1.2.3/"),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]/"),
        ("[fd00::]/8", "http://[fd12::1]/"),
        ("fd00::/8", "http://[fd12::1]/"),
        ("[fd12::1]", "http://[fd12::1]/"),
        ("0.0.0.0/0", "http://192.0.2.7/"),
        ("127.0.0.0/8", "http://127.0.0.1:8101/"),
        ("169.254.0.0/16", "http://169.254.169.254/"),
        ("10.0.0.0/8", "http://any.name.example/"),  # its addresses decide, when a connection is made
        ("elsewhere, client-01", "http://client-01/"),
    ],
)
def test_what_is_listed_is_allowed(allow, allowed, url):
    allow(allowed)

    check(url)


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("", "http://client-01/"),
        ("", "http://127.0.0.1/"),
        ("client-01", "http://client-02/"),
        ("client-01", "http://client-01.elsewhere.example/"),
        ("client-01", "http://10.1.2.3/"),
        ("*.clinic.example", "http://clinic.example/"),
        ("*.clinic.example", "http://evilclinic.example/"),
        ("*.clinic.example", "http://a.clinic.example.evil/"),
        ("10.0.0.0/8", "http://11.0.0.0/"),
        ("10.0.0.0/8", "http://[fd00::1]/"),
        ("0.0.0.0/0", "http://0.0.0.0/"),
        ("0.0.0.0/0", "http://127.0.0.1/"),
        ("0.0.0.0/0", "http://127.8.9.10/"),
        ("0.0.0.0/0", "http://169.254.169.254/latest/meta-data/"),
        ("0.0.0.0/0", "http://224.0.0.1/"),
        ("::/0", "http://[::1]/"),
        ("::/0", "http://[::]/"),
        ("::/0", "http://[fe80::1]/"),
        ("::/0", "http://[::ffff:127.0.0.1]/"),
        ("::/0", "http://[::ffff:7f00:1]/"),
        ("::/0", "http://[::ffff:0.0.0.0]/"),
        ("0.0.0.0/0,::/0", "http://[::ffff:127.0.0.1]/"),
    ],
)
def test_what_is_not_listed_is_refused_with_the_way_to_change_it(allow, allowed, url):
    allow(allowed)

    with pytest.raises(EndpointError, match="HANSA_PUSH_ALLOW"):
        check(url)


@pytest.mark.parametrize(
    ("allowed", "host", "addresses"),
    [
        ("client-01", "client-01", ["192.0.2.1"]),
        ("client-01", "client-01", ["127.0.0.1"]),  # a name that is listed is trusted
        ("10.0.0.0/8", "any.example", ["10.0.0.1", "10.9.9.9"]),
        ("10.0.0.0/8,fd00::/8", "any.example", ["10.0.0.1", "fd00::1"]),
        ("10.0.0.0/8", "any.example", ["::ffff:10.0.0.1"]),
    ],
)
def test_a_connection_may_go_to_what_is_listed(allow, allowed, host, addresses):
    allow(allowed)

    require_allowed(host, [ip_address(each) for each in addresses])


STRAYS = ["11.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "0.0.0.0"]  # noqa: S104  # refused, not bound


@pytest.mark.parametrize("stray", STRAYS)
def test_a_name_is_refused_if_only_one_of_its_addresses_is_not_listed(allow, stray):
    allow("client-01,10.0.0.0/8")

    with pytest.raises(EndpointError) as refusal:
        require_allowed("any.example", [ip_address("10.0.0.1"), ip_address(stray)])

    assert "any.example" in str(refusal.value)
    assert stray not in str(refusal.value), "how our network resolves names is not the caller's to learn"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("", ["''", "0.0.0.0/0"]),
        ("a,,b", ["''"]),
        ("*", ["'*'", "0.0.0.0/0 and [::]/0"]),
        ("*.10.0.0.1", ["as a network"]),
        ("*.", ["''"]),
        ("a.*.example", ["'a.*.example'", "no host name"]),
        ("http://client-01", ["'http://client-01'", "no network"]),
        ("client-01:8101", ["'client-01:8101'"]),
        ("10.0.0.0/33", ["'10.0.0.0/33'"]),
        ("10.0.0.1/8", ["host bits"]),
        ("::ffff:10.0.0.0/104", ["as an IPv4 network"]),
        ("2130706433", ["four of them"]),
        ("fe80::1%eth0", ["zone"]),
        ("two words", ["no host name"]),
    ],
)
def test_a_list_that_cannot_be_used_is_told_with_the_entry_at_fault(entry, words):
    with pytest.raises(DestinationError) as refusal:
        Destinations.parse(entry)

    for word in words:
        assert word in str(refusal.value)


LOOPBACKS = [
    "①②⑦.0.0.1",
    "127。0。0。1",
    "\uff11\uff12\uff17.0.0.1",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7F00:0001]",
]
HOSTS = ["127.0.0.1", "[::1]", "10.1.2.3", "client-01", "0x7f.1", "ⓛocalhost", *LOOPBACKS]
URLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://", "HTTP://", "http:/", ""]),
    st.text(max_size=20)
    | st.sampled_from(
        ["127.0.0.1", "[::1]", "10.1.2.3", "client-01", "0x7f.1", "\uff11\uff12\uff17.0.0.1", "①②⑦.0.0.1", "ⓛocalhost"]
    ),
    st.sampled_from(["", ":80", ":0", ":99999", ":\uff18\uff10", "."]),
    st.text(max_size=20) | st.just("/"),
)


@given(url=URLS | st.text())
@example(url="http://①②⑦.0.0.1/")
@example(url="http://127。0。0。1/")
def test_whatever_is_given_is_either_refused_or_read_as_something_that_reads_the_same_again(url):
    try:
        parts = parse(url)
    except EndpointError:
        return
    again = parse(f"{parts.scheme}://{parts.authority}{parts.target}")
    assert again == parts
    assert parts.target.isascii()
    assert parts.target.startswith("/")
    assert parts.authority.isascii()


@pytest.mark.parametrize("host", LOOPBACKS)
def test_loopback_is_known_in_every_spelling(host):
    assert parse(f"http://{host}/").host == ip_address("127.0.0.1")


def test_what_is_checked_is_what_is_used(allow):
    allow("client-01")

    assert checked("http://client-01:8101/tell?me").target == "/tell?me"
