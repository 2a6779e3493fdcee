"""What sweeps have measured, as one table: how it is written and read."""
