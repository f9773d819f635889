"""Models, their immutable versions, and the metrics reported of them."""
