"""The round as pure logic: the plan, the states and their allowed moves, and `decide(facts, now)`.

Nothing here reads a clock, a database or a random generator: `now` and the facts are arguments, so that every
decision a server ever took can be repeated in a test of three lines.
"""
