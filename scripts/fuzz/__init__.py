"""What tunedb is fuzzed with: one module a target."""
