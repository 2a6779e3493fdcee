"""Recorded search spaces, and samplers replayed on them."""
