"""Databases of GPUs that ran an older generation's code: they stand in for cards that are not here, and answer no call."""
