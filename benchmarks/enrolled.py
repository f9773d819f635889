"""So many clients, straight into the database of HANSA_HOME: the API would take minutes, and is not what is measured.

enrolled.py PREFIX COUNT FILE       writes a token a line to FILE, of PREFIX-0000 and so on
"""

import os
import sys
from pathlib import Path


def main(prefix: str, count: int, file: Path) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "hansa.server.settings"
    import django

    django.setup()
    from django.contrib.auth.hashers import make_password
    from django.db import transaction
    from django.utils import timezone

    from hansa.server.accounts.models import Token, User
    from hansa.server.accounts.secrets import digest, new_token

    nobody, now = make_password(None), timezone.now()
    users = [User(username=name(prefix, number), client=True, password=nobody) for number in range(count)]
    texts = [new_token() for _ in users]
    with transaction.atomic():
        User.objects.bulk_create(users, batch_size=500)
        tokens = [
            Token(user=user, name="load", digest=digest(text), created_at=now)
            for user, text in zip(users, texts, strict=True)
        ]
        Token.objects.bulk_create(tokens, batch_size=500)
    file.touch(mode=0o600)
    file.write_text("\n".join(texts))


def name(prefix: str, number: int) -> str:
    return f"{prefix}-{number:04}"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
