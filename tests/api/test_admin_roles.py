"""Every page of the admin, asked for by everybody: who is not staff is sent to sign in, and staff see what is given."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import get_resolver, reverse

from hansa.server.trainings.models import Training
from support.matrix import patterns
from support.realm import found_realm

FOR_STAFF = """\
admin/                          200
admin/login/                    302
admin/logout/                   405
admin/password_change/          200
admin/password_change/done/     200
admin/autocomplete/             403
admin/jsi18n/                   200
admin/r/1/1/                    404
admin/trainings/                404
admin/nothing/of/the/kind/      404
"""
"""What staff get to whom nobody has given a permission, of pages that belong to no table. To leave takes a POST."""

TABLES = {f"admin/{table._meta.app_label}/{table._meta.model_name}/": table for table in admin.site._registry}


@pytest.fixture
async def realm(person, tmp_path):
    return await found_realm("luebeck", person, tmp_path)


@pytest.fixture
def browser_of(realm):
    """Django's own test client, of somebody who has signed in, or of nobody."""
    ContentType.objects.clear_cache()  # the database was emptied since they were looked up

    def sign_in(user):
        browser = Client()
        if user is not None:
            browser.force_login(user)
        return browser

    return sign_in


@pytest.fixture
def staff(person):
    return person("staff", is_staff=True).user


def served():
    """Of every page its table, if it belongs to one, and an address: that of the table's first row."""
    for pattern in patterns(get_resolver().url_patterns):
        if pattern.startswith("admin/"):
            table = next((TABLES[start] for start in TABLES if pattern.startswith(start)), None)
            yield table, _address(pattern, table)


def _address(pattern, table):
    if table is None:
        some = pattern.replace("(?P<url>.*)$", "nothing/of/the/kind/")
        return re.sub(r"\^\(\?P<app_label>.*\)/\$", "trainings/", re.sub(r"<path:\w+>", "1", some))
    row = table.objects.first()
    assert row is not None, f"the realm must have a row of {table._meta.label}"
    return re.sub("<.*>", str(row.pk), pattern)


def pages_of_tables():
    return [address for table, address in served() if table is not None]


def other_pages():
    return dict(line.split() for line in FOR_STAFF.splitlines())


def test_every_page_is_of_a_table_or_named_here(realm):
    assert {address for table, address in served() if table is None} == other_pages().keys()


@pytest.mark.parametrize("method", ["get", "post"])
def test_who_is_not_staff_is_sent_to_sign_in(browser_of, realm, person, method):
    stranger = person("mallory", actor=True, client=True).user
    people = realm.people
    pages = [*pages_of_tables(), *(other_pages().keys() - {"admin/login/", "admin/logout/"})]

    for user in (None, stranger, people.client.user, people.actor.user, people.owner.user):
        browser = browser_of(user)
        for path in pages:
            answer = getattr(browser, method)(f"/{path}")
            seen = answer.status_code, answer.headers.get("Location", "").partition("?")[0]
            assert seen == (302, reverse("admin:login")), f"{method} {path} as {user}: {seen}"
        assert getattr(browser, method)("/admin/logout/").headers["Location"] == reverse("admin:index")
        assert browser.get("/admin/login/").status_code == 200


def test_staff_without_permissions_see_no_table_and_no_row(browser_of, staff):
    browser = browser_of(staff)
    for path in pages_of_tables():
        if leads_on := re.fullmatch(r"admin/\w+/\w+/(?!add/)[^/]+/", path):
            answer = browser.get(f"/{path}")
            assert (answer.status_code, answer.headers["Location"]) == (302, f"/{leads_on[0]}change/")
            continue
        for method in ("get", "post"):
            answer = getattr(browser, method)(f"/{path}")
            assert answer.status_code == 403, f"{method} {path}: wanted 403, seen {answer.status_code}"


def test_staff_without_permissions_have_the_pages_of_all_who_are_staff(browser_of, staff):
    browser = browser_of(staff)

    assert {path: str(browser.get(f"/{path}").status_code) for path in other_pages()} == other_pages()


def test_a_permission_opens_the_pages_of_its_table_and_no_others(browser_of, staff):
    kind = ContentType.objects.get_for_model(Training)
    staff.user_permissions.add(Permission.objects.get_or_create(codename="view_training", content_type=kind)[0])
    browser = browser_of(staff)

    opened = {path for path in pages_of_tables() if browser.get(f"/{path}").status_code == 200}

    pk = Training.objects.first().pk
    assert opened == {f"admin/trainings/training/{rest}" for rest in ("", f"{pk}/change/", f"{pk}/history/")}
