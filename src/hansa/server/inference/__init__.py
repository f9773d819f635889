"""Questions to models: `POST /api/inference/`. Programs run in the sandbox's processes, and nowhere here."""
