"""`python -m tunedb` is the command `tunedb`."""

from tunedb.cli import main

if __name__ == "__main__":
    main(prog_name="tunedb")
