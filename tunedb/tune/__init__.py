"""Search, offline: problems in, records out."""
