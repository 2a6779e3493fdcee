"""Packed weights: how a kernel wants a weight laid out (data), what writes it so (one launch), and where it is kept."""
