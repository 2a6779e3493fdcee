"""Random inputs for what takes input from outside: each module has `run(random, folder)`, which says what failed."""
