"""Deterministic simulation: rounds and services under a seeded clock, a seeded network and seeded crashes.

One thread, one random generator, virtual time. A *schedule* is all that a seed decides: the plan, the clients and their
habits, what the network loses, doubles, delays and reorders, when the server dies, what the actor does meanwhile. After
a while the faults stop, and what was promised must come true. A failure names its seed, and

    PYTHONPATH=tests python -m simulation services --seed 1234 --trace

repeats it with one line per event. There are two worlds: in `rounds` the rows are a small model in memory, and only
`hansa.rounds` is real; in `services` the services of the server are, on a real database.

    timeline    virtual time, the generator, the trace          network     loss, duplication, delay, reordering
    rows        what is looked at, in both worlds               invariants  what must hold of it, always and in the end
    memory      the rows as a small model in memory             services    the real ones
    process     the server: up or down, and its orchestrator    clients     programs that ask, train, send and die
    schedules   what a seed decides, from beginning to end
"""
