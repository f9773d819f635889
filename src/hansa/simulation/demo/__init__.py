"""Fills a server with a federation to look at: several trainings, a client that fails, an update that was refused.

Nothing is made up but the data: drawings of four shapes, dealt unevenly. The clients learn from them in this process,
and speak to the server as all clients do, so that every page shows what it will show of real ones.
"""
