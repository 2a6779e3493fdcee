"""One problem on one GPU: candidates timed and held against float64 and torch."""
