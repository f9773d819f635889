"""`hansa doctor`: looks at everything a server needs, changes nothing, and says what to do about what is wrong.

Each module looks at one thing and yields findings; `examination` calls them in the order in which one leads to another.
"""
