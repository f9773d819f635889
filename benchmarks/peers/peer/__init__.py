"""One small Django project with Hansa's user record, served by each of the peers."""
