"""Errors, names, records and progress: what everything else stands on. Imports nothing of unsee and no torch."""
