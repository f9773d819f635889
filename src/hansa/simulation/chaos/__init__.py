"""Trainings whose processes are killed again and again, and the proof that nothing of them was lost.

    schedule        which process is killed when: a function of the seed
    processes       the server and its clients as processes, killed and started again
    storm           carries a schedule out, and measures how long the server was away
    federation      the actor: keeps trainings going, and sees each to its end
    participant     what runs in a client's process; trainer, its arithmetic
    witness         what the actor was told meanwhile
    tables          the rows of the server's database, of SQLite or PostgreSQL
    record          what is in a data folder afterwards, read from its tables and files
    repetition      every version computed again, slowly, from what the record says it came of
    succession      whether the rounds follow one another, each once and each from the version before
    abandonment     whether the attempts that came to nothing had to
    verification    what is in the record and must not be, or is not and must be

What verifies has its own reading of the tables, by SQL, its own arithmetic, a plain loop, and its own rules of what
follows what. With the server and the clients it shares what both are given: the plan and its counts (`rounds.plan`),
the names of states, the seeds of clients, and the format of files. An error in one of these it would not find; each has
tests of its own against fixed values.
"""
