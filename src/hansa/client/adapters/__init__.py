"""Trainers for the libraries people train with. Each imports its library; nothing else here does."""
