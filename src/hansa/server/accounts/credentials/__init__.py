"""Who presents these credentials? Answered without a price: no ORM, no thread hop, mostly no query.

`directory.py` is what authenticators ask. It keeps a bounded number of users as they were read, each with the
`version` that the database had before; an answer is good only while that version is the present one:

    SQLite      `sqlite.py`: PRAGMA data_version of a connection of our own. Any commit by anybody changes it.
    PostgreSQL  `postgresql.py`: the number of changes that this process has made to users and tokens (`changes.py`);
                two seconds at most, for what others write.
    otherwise   nothing is kept, and the ORM answers (`orm.py`).

So a credential is refused from the moment that the call which revoked it has returned, whatever way it was revoked.
"""
