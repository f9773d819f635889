"""The work of rounds.py as an app of Flower: the same params, the same clients that train nothing, the same weights."""
