"""What all tests share. Fixtures of the server are in `support`, by subject; each folder may add its own."""

pytest_plugins = (
    "support.home",
    "support.postgres",
    "support.people",
    "support.work",
    "support.disks",
    "support.serving",
    "support.federation",
)
