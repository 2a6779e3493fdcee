"""The parts that the benchmark programs share."""
