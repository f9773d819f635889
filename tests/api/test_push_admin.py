"""An administrator sees what was told to whom; nobody can change it, and no secret is on the page."""

import uuid

import pytest
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse
from django.utils import timezone

from hansa.server.notifications import services
from hansa.server.notifications.models import Notification
from hansa.server.notifications.services import Message


@pytest.fixture
def row(person):
    endpoint = "http://127.0.0.1:8101/a-path-that-only-they-know"
    dave = person("dave", client=True, message_endpoint=endpoint)
    message = Message(uuid.UUID(int=1), dave.user.id, "TRAINING_START", {"notification_type": "TRAINING_START"})
    services.enqueue([message], now=timezone.now())
    return Notification.objects.get()


@pytest.fixture
def browser(client, root):
    ContentType.objects.clear_cache()  # the database was emptied since they were looked up
    client.force_login(root.user)
    return client


def page(kind, *arguments):
    return reverse(f"admin:notifications_notification_{kind}", args=arguments)


def test_the_outbox_can_be_looked_at(browser, row):
    listed, shown = browser.get(page("changelist")), browser.get(page("change", row.id))

    assert listed.status_code == shown.status_code == 200
    for text in (listed.content.decode(), shown.content.decode()):
        assert "TRAINING_START" in text
        assert "dave" in text
        assert "a-path-that-only-they-know" not in text


def test_it_cannot_be_changed(browser, row):
    assert b'name="_save"' not in browser.get(page("change", row.id)).content
    assert browser.post(page("change", row.id), {"state": "delivered"}).status_code == 403
    assert browser.post(page("delete", row.id), {"post": "yes"}).status_code == 403
    assert browser.get(page("add")).status_code == 403
