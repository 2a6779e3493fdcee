"""Inference: from a call to the answer and its launch. Needs torch and the standard library only."""
