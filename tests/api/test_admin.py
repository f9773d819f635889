"""The admin: every table is there, and history cannot be rewritten."""

import re
from dataclasses import replace

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse

from hansa.server.accounts.models import Answered, Invitation, Token, User
from hansa.server.destinations import Destinations
from hansa.server.lifecycle.bridge import call
from hansa.server.lifecycle.history import HistoryAdmin
from hansa.server.notifications.models import Notification
from hansa.server.registry.models import Calibration, Metric, Model, ModelKind
from support.answers import refused
from support.work import add_up, lease, settle, update, upload_and_report

OURS = [
    model
    for label in ("accounts", "blobs", "registry", "trainings", "notifications")
    for model in apps.get_app_config(label).get_models()
]
SHOWN = list(admin.site._registry)
"""All that has pages: ours, and the groups of Django's."""
HISTORY = [model for model in OURS if isinstance(admin.site._registry.get(model), HistoryAdmin)]

REVOCABLE = {Token, Invitation}


def test_every_table_is_in_the_admin():
    assert [table for table in OURS if table not in SHOWN] == []
    assert [table for table in SHOWN if table not in OURS] == [Group]


def test_all_but_users_and_models_is_history():
    assert {model for model in OURS if model not in HISTORY} == {User, Model}


@pytest.fixture
async def full(alice, bob, carol, started, root):
    """A database in which every table has a row."""
    await alice.post("/api/clients/invitations/", json={"username": "dave"})
    await alice.post("/api/groups/", json={"name": "north"})
    await call(add_what_older_clients_bring, alice.user, started)
    for client in (bob, carol):
        await upload_and_report(client, await call(lease, client), update())
    await call(settle, started)
    await call(add_up, started)


def add_what_older_clients_bring(owner, training):
    """A model of each kind, moments, a metric that is no number, a notification, an answer that is kept."""
    now = training.created_at
    version = training.model.versions.get(number=0)
    swag = Model.objects.create(owner=owner, name="swag", kind="swag", spec=[], input_shape=[None, 2], created_at=now)
    swag.versions.create(number=0, blob=version.blob, moments=version.blob, created_at=now)
    Calibration.objects.create(version=version, temperature=1.5, rule="lac", scores={"cells": [1]})
    mean = Model.objects.create(owner=owner, name="mean", kind="mean", spec=[], created_at=now)
    mean.members.create(member=swag, position=0)
    text = {"kind": "evaluate", "step": 1, "num_examples": 1, "reporter": owner}
    swag.metrics.create(key="remark", text="sehr schön \N{SNOWMAN}".encode() + b"\xff", **text)
    queued = {"queue": training.id, "kind": "TRAINING_START", "body": {}, "next_attempt_at": now, "created_at": now}
    Notification.objects.create(receiver=owner, **queued)
    Answered.objects.create(user=owner, key="one", request="0" * 64, answer="{}", answered_at=now)


@pytest.fixture
def browser(client, root):
    """Django's own test client, signed in as root."""
    ContentType.objects.clear_cache()  # the database was emptied since they were looked up
    client.force_login(root.user)
    return client


def page(model, kind, *arguments):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}", args=arguments)


def test_the_first_page_shows_all_tables(full, browser):
    text = browser.get(reverse("admin:index")).content.decode()

    for table in SHOWN:
        assert page(table, "changelist") in text


def test_lists_and_rows_can_be_looked_at(full, browser):
    for table in SHOWN:
        rows = list(table.objects.all())
        assert rows, f"the fixture must fill {table._meta.label}"
        assert browser.get(page(table, "changelist")).status_code == 200
        assert browser.get(page(table, "changelist"), {"q": "a"}).status_code == 200
        for row in rows:
            assert browser.get(page(table, "change", row.pk)).status_code == 200, row


def test_the_fixture_has_models_of_all_kinds(full):
    assert {model.kind for model in Model.objects.all()} == set(ModelKind.values)


def test_a_list_asks_the_database_a_few_times_and_not_once_per_row(full, browser, django_assert_max_num_queries):
    for table in SHOWN:
        with django_assert_max_num_queries(12):
            browser.get(page(table, "changelist"))


def test_a_metric_that_is_no_number_is_shown_as_its_text(full, browser):
    row = Metric.objects.get(key="remark")

    for path in (page(Metric, "changelist"), page(Metric, "change", row.pk)):
        assert "sehr schön \N{SNOWMAN}\N{REPLACEMENT CHARACTER}" in browser.get(path).content.decode()


def test_no_page_needs_what_the_content_security_policy_forbids(full, browser):
    inline = re.compile(r"<script(?![^>]*(\bsrc=|application/json))[^>]*>|\sstyle=|\son[a-z]+=|<style", re.IGNORECASE)
    for table in SHOWN:
        for path in (page(table, "changelist"), page(table, "change", table.objects.first().pk)):
            answer = browser.get(path)
            assert answer.status_code == 200
            text = answer.content.decode()
            assert [found.group() for found in inline.finditer(text)] == [], path


def test_history_can_be_read_and_not_written(full, browser):
    for table in HISTORY:
        row = table.objects.first()
        before = list(table.objects.values())
        assert 'name="_save"' not in browser.get(page(table, "change", row.pk)).content.decode()

        assert browser.post(page(table, "change", row.pk), {}).status_code == 403
        assert browser.get(page(table, "add")).status_code == 403
        assert browser.post(page(table, "add"), {}).status_code == 403
        assert list(table.objects.values()) == before


def test_history_cannot_be_deleted(full, browser):
    for table in set(HISTORY) - REVOCABLE:
        row = table.objects.first()
        selected = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}

        assert browser.post(page(table, "delete", row.pk), {"post": "yes"}).status_code == 403
        browser.post(page(table, "changelist"), selected)
        assert table.objects.filter(pk=row.pk).exists()


def test_tokens_and_invitations_are_revoked_by_deleting_them(full, browser):
    for table in REVOCABLE:
        row = table.objects.first()

        assert browser.post(page(table, "delete", row.pk), {"post": "yes"}).status_code == 302
        assert not table.objects.filter(pk=row.pk).exists()


def test_no_page_shows_what_secrets_are_kept_as(full, browser):
    for table in REVOCABLE:
        row = table.objects.first()
        for path in (page(table, "changelist"), page(table, "change", row.pk)):
            assert row.digest not in browser.get(path).content.decode()


def test_roles_are_given_in_the_admin(browser, bob):
    text = browser.get(page(User, "change", bob.user.pk)).content.decode()

    assert 'name="actor"' in text
    assert 'name="client"' in text


NEW = {"username": "dora", "usable_password": "true", "password1": "correct horse", "password2": "correct horse"}


def messages_of(answer):
    return " ".join(sentence for field in answer.context["adminform"].form.errors.values() for sentence in field)


def test_a_user_is_added_with_all_that_belongs_to_one(browser, reachable):
    fields = {"first_name": "Dora", "email": "dora@example.org", "actor": "on", "client": "on"}
    endpoint = {"message_endpoint": "http://client-01:8101/"}

    assert browser.post(page(User, "add"), {**NEW, **fields, **endpoint}).status_code == 302

    made = User.objects.get(username="dora")
    assert (made.first_name, made.email, made.actor, made.client) == ("Dora", "dora@example.org", True, True)
    assert made.message_endpoint == "http://client-01:8101/"
    assert made.check_password("correct horse")
    assert not made.is_staff


def test_a_machine_may_be_added_without_a_password(browser):
    assert browser.post(page(User, "add"), {"username": "dora", "usable_password": "false"}).status_code == 302

    assert not User.objects.get(username="dora").may_own


@pytest.fixture
def reachable(monkeypatch, settings):
    monkeypatch.setattr(settings, "CONFIG", replace(settings.CONFIG, push_allow=Destinations.parse("client-01")))


def test_an_endpoint_that_the_server_may_not_send_to_is_refused_with_the_reason(browser, bob, reachable):
    wrong = {"message_endpoint": "http://169.254.169.254/"}

    added = browser.post(page(User, "add"), {**NEW, **wrong})
    changed = browser.post(page(User, "change", bob.user.pk), form_of(browser, bob.user, **wrong))

    for answer in (added, changed):
        assert answer.status_code == 200
        assert "HANSA_PUSH_ALLOW" in messages_of(answer)
    assert not User.objects.exclude(message_endpoint="").exists()


def form_of(browser, user, **changed):
    """What the page of a user would send, with something changed."""
    form = browser.get(page(User, "change", user.pk)).context["adminform"].form
    sent = {name: form[name].value() for name in form.fields if name not in ("password", "date_joined", "last_login")}
    given = {name: value for name, value in sent.items() if value not in (None, False, [])}
    joined = user.date_joined
    dates = {"date_joined_0": f"{joined:%Y-%m-%d}", "date_joined_1": f"{joined:%H:%M:%S}"}
    return {**given, **dates, **changed}


def test_an_endpoint_that_is_no_longer_allowed_does_not_stop_another_change(browser, bob):
    User.objects.filter(pk=bob.user.pk).update(message_endpoint="http://client-01:8101/")

    answer = browser.post(page(User, "change", bob.user.pk), form_of(browser, bob.user, actor="on"))

    assert answer.status_code == 302
    changed = User.objects.get(pk=bob.user.pk)
    assert (changed.actor, changed.message_endpoint) == (True, "http://client-01:8101/")


def test_who_is_in_a_group_is_said_on_the_users_page(browser, bob):
    group = Group.objects.create(name="north")

    answer = browser.post(page(User, "change", bob.user.pk), form_of(browser, bob.user, groups=[group.pk]))

    assert answer.status_code == 302
    assert list(bob.user.groups.all()) == [group]


def test_of_a_model_only_name_and_description_can_be_mended(full, browser):
    row = Model.objects.get(name="small")
    form = {"name": "renamed", "description": "better", "kind": "swag", "owner": "", "_save": "Save"}

    assert browser.post(page(Model, "change", row.pk), form).status_code == 302

    mended = Model.objects.get(pk=row.pk)
    assert (mended.name, mended.description, mended.kind, mended.owner_id) == (
        "renamed",
        "better",
        "global",
        row.owner_id,
    )


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_who_is_not_staff_does_not_get_in(client, who, request):
    client.force_login(request.getfixturevalue(who).user)

    assert client.get(reverse("admin:index")).status_code == 302


async def test_the_admin_is_served_by_the_same_handler_with_the_same_headers(nobody):
    response = await nobody.get("/admin/login/")

    assert response.status_code == 200
    assert "csrfmiddlewaretoken" in response.text
    assert response.headers["X-Frame-Options"] == "DENY"
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]


async def test_a_person_signs_in_with_a_password_and_a_cookie_that_scripts_cannot_read(nobody, root, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    await call(set_password, root.user, "correct horse")
    form = await nobody.get("/admin/login/")
    body = {"username": "root", "password": "correct horse", "csrfmiddlewaretoken": form.cookies["csrftoken"]}

    without_token = await nobody.post("/admin/login/", data={**body, "csrfmiddlewaretoken": "x" * 64})
    signed_in = await nobody.post("/admin/login/?next=/admin/", data=body)

    assert (without_token.status_code, signed_in.status_code) == (403, 302)
    (cookie,) = [line for line in signed_in.headers.get_list("Set-Cookie") if line.startswith("sessionid")]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert (await nobody.get("/admin/")).status_code == 200
    assert (await nobody.get("/api/users/myself/")).json()["username"] == "root"
    refused(await nobody.post("/api/tokens/", json={"name": "t"}), 403, "permission_denied", "CSRF")
    with_token = {"X-CSRFToken": nobody.cookies["csrftoken"]}
    assert (await nobody.post("/api/tokens/", json={"name": "t"}, headers=with_token)).status_code == 201


def set_password(user, text):
    user.set_password(text)
    user.save()


async def test_styles_are_served_from_the_installed_packages(nobody):
    response = await nobody.get("/static/admin/css/base.css")

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/css")
    assert len(response.content) == int(response.headers["Content-Length"])


async def test_a_form_of_the_admin_has_a_limit(nobody):
    response = await nobody.post("/admin/login/", content=b"x" * (10 * 2**20 + 1))

    assert (response.status_code, response.json()["code"]) == (413, "too_large")
