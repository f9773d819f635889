"""Health, the API's own description, and what nobody asked for."""
