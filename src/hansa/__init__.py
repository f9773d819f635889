"""Hansa: a federated-learning server, client and toolkit.

Nothing is imported here on purpose: `import hansa` must cost nothing and pull in nothing.
"""

__version__ = "0.1.0"
