"""What a config, and torch, should take on a GPU that is not here."""
