"""Answers for problems that nobody has swept: what a config should give there, learned from the trials of all sweeps.

Lookups do not ask it yet: scripts/check_unseen.py says why (docs/experiments.md).
"""
