"""What is known of each blob."""

from django.db import models


class Blob(models.Model):
    """Bytes in the store. The row is written after the file, and deleted before it."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    size = models.BigIntegerField()
    media_type = models.CharField(max_length=100)
    checksums = models.BinaryField(editable=False)
    """XXH3 (64 bits, big-endian) of each block of 1 MiB: checked in every aggregation read."""
    seen_at = models.DateTimeField()
    """When somebody last said that they need it; younger than the grace period, it is not collected."""

    class Meta:
        constraints = (models.CheckConstraint(condition=models.Q(size__gte=0), name="blob_size_not_negative"),)

    def __str__(self) -> str:
        return self.sha256
