from django.contrib import admin

from hansa.server.blobs.models import Blob
from hansa.server.lifecycle.history import HistoryAdmin


@admin.register(Blob)
class BlobAdmin(HistoryAdmin):
    """Blobs: written once, collected when nothing refers to them."""

    list_display = ("sha256", "size", "media_type", "seen_at")
    search_fields = ("sha256",)
    exclude = ("checksums",)
