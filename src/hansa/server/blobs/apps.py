from django.apps import AppConfig


class BlobsConfig(AppConfig):
    """The content-addressed store."""

    name = "hansa.server.blobs"
    label = "blobs"
    verbose_name = "Blobs"
