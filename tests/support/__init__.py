"""Fixtures and helpers of the server's tests: a home, people with roles, work for them to do."""
