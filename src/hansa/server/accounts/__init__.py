"""People, clients, their roles and credentials."""
