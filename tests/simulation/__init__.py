"""Deterministic simulation: rounds and services under a seeded clock, a seeded network and seeded crashes.

One thread, one random generator, virtual time. A *schedule* is all that a seed decides: the plan, the clients and their
habits, what the network loses, doubles, delays and reorders, when the server dies, what the actor does meanwhile. After
a while the faults stop, and what was promised must come true. A failure names its seed, and

    PYTHONPATH=tests python -m simulation services --seed 1234 --trace

repeats it with one line per event. There are two worlds: in `rounds` the rows are a small model in memory, and only
`hansa.rounds` is real; in `services` nearly all of the server is, on a real database and a real store: its services,
and the coroutines that wait in between (orchestrator, mending, deliverer, housekeeping, uploads, shared commits). They
are driven by hand in virtual time, so that anything may happen wherever one of them awaits.

    timeline    virtual time, the generator, the trace          network       loss, duplication, delay, reordering
    machine     crashes, slowness, trouble                      coroutines    the server's own, step by step
    rows        what is looked at, in both worlds               invariants    what must hold, always and in the end
    memory      the rows as a small model in memory             services      the real ones
    process     the server: up or down, and its orchestrator    surroundings  what the real ones have around them
    clients     programs that ask, train, send and die          push_clients  those that are told, and send forms
    older       the older platform's half of the services       contents      what clients send, as files
    schedules   what a seed decides, from beginning to end      realm         people, database and folder of all

Not in here: two services that write at once, as PostgreSQL lets them (on SQLite one thread writes), and bodies that
come in pieces.
"""
