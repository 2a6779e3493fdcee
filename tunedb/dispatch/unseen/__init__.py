"""Answers for problems that nobody has swept: what a config should give there, learned from the trials of all sweeps.

The tier `expected` asks it (dispatch/unswept.py); scripts/check_unseen.py says how often it is wrong.
"""
