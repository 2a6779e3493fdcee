"""One problem on one GPU: candidates timed, and checked against float64 and torch."""
