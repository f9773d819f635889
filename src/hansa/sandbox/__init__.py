"""Where programs of models run: in processes that can read, write, reach and start nothing."""
