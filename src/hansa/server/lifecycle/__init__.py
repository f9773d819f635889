"""Django REST framework's request lifecycle, awaited: usable by any Django project.

`asgi.py` hands requests over with their bodies unread, `views.py` walks DRF's steps and awaits what is awaitable,
`bridge.py` is the one way from async views to synchronous services. Nothing here knows about federated learning.
"""
