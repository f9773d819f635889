"""`hansa serve` on a PostgreSQL."""

import subprocess
from dataclasses import dataclass

from system.processes import PASSWORD, Server, hansa


@dataclass
class ServerOnPostgres(Server):
    database: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "HANSA_DATABASE_URL": self.database}

    def sign_up_root(self) -> None:
        command = hansa("createsuperuser", "--noinput", "--username", "root", "--email", "root@example.org")
        told = {**self.environment, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        subprocess.run(command, env=told, check=True, capture_output=True)
