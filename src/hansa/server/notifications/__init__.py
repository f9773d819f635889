"""Messages pushed to clients that have an HTTP endpoint of their own: an outbox, and what delivers it."""
