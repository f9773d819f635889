"""A training to look at without training anything: `GET /api/dummy/`, while debugging."""
