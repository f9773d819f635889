"""DRF's own test suite, run over Hansa's classes: `python -m drf.run` with this folder's parent on the path.

`environment.py` fetches the suite, `run.py` runs it once per mode, `plugin.py` is loaded into each run: there
`substitution.py` puts our classes in DRF's place, `handlers.py` makes handlers `async def`, `witness.py` counts what
ran. `outcomes.py` compares.
"""
