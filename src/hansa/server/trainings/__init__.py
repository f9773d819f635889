"""Trainings, rounds, tasks and updates: the rows, the services that move them, and the orchestrator."""
