"""What all tests share. Fixtures of the server are in `support`, by subject; each folder may add its own."""

pytest_plugins = (
    "support.postgres",
    "support.home",
    "support.people",
    "support.work",
    "support.disks",
    "support.serving",
    "support.federation",
)
