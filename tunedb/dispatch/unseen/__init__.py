"""Answers for problems that nobody has swept: what a config should give there, learned from the trials of all sweeps."""
