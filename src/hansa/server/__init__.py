"""The server: a Django project. A feature is a folder; `process.py` starts it, `config.py` reads its settings."""
