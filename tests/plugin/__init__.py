"""A distribution of somebody else: one leaf of every kind. `tests/contract/test_plugins.py` installs it and uses it."""
