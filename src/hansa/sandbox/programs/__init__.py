"""The child's side: torch, and whatever a stranger's program does with it. Imported in confined processes only."""
