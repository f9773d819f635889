"""Federated learning as functions from arrays to arrays. numpy only: no files, clock, network or global dice."""
