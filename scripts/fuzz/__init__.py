"""What the fuzzing scripts share."""
