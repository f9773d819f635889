"""Coming over from the DLR platform: its database is read, and what it holds is taken into this server's.

    source     the other database, opened read-only, and its rows as values (rows)
    target     what this server has already
    survey     which row is taken, which is here already, which cannot be taken and why: pure
    files      weights and moments, read inertly and written canonically
    writing    all rows, in one transaction
    report     what is told about it

`moving.come_over` is the whole of it.
"""
