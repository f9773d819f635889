"""Who sends a request is told by the connection, and by the proxies that are trusted; never by the sender."""

import pytest
from django.test import RequestFactory
from rest_framework.request import Request

from hansa.server.lifecycle.addresses import address


@pytest.fixture
def proxies(settings):
    """Say how many proxies are trusted."""

    def trust(number):
        settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": number}

    return trust


def seen(peer="203.0.113.9", forwarded=None):
    headers = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    return address(RequestFactory().get("/", REMOTE_ADDR=peer, **headers))


@pytest.mark.parametrize("trusted", [0, None])
def test_without_a_trusted_proxy_what_a_client_writes_about_itself_is_not_believed(proxies, trusted):
    proxies(trusted)

    assert seen(forwarded="198.51.100.1") == "203.0.113.9"


def test_of_a_trusted_proxy_only_the_entry_that_it_added_is_believed(proxies):
    proxies(1)

    assert seen("10.0.0.1", "198.51.100.1") == "198.51.100.1"
    assert seen("10.0.0.1", "1.1.1.1, 2.2.2.2 , 198.51.100.1") == "198.51.100.1"


def test_of_two_proxies_the_outer_ones_entry(proxies):
    proxies(2)

    assert seen("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2") == "198.51.100.1"
    assert seen("10.0.0.1", "198.51.100.1") == "198.51.100.1"


@pytest.mark.parametrize("forwarded", [None, "", "1.1.1.1,"])
def test_a_proxy_that_says_nothing_is_counted_itself(proxies, forwarded):
    proxies(1)

    assert seen("10.0.0.1", forwarded) == "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:50000", "203.0.113.9"),
        ("un:known", "un:known"),
        ("", ""),
    ],
)
def test_an_ipv6_address_is_its_64_and_an_ipv4_address_is_itself_however_it_is_written(peer, key):
    assert seen(peer) == key


def test_what_is_no_address_does_not_fill_the_memory(proxies):
    proxies(1)

    assert len(seen(forwarded="x" * 10_000)) == len(seen(forwarded=":" * 10_000)) == 64


def test_a_request_without_a_peer_has_an_address_all_the_same():
    request = RequestFactory().get("/")
    del request.META["REMOTE_ADDR"]

    assert address(request) == address(Request(request)) == ""
