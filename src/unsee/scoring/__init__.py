"""Computes numbers with intervals from answers; never imports torch."""
