"""From a model to its answers: capture, use, tune, report. Imports `tune`, `store` and `measure` inside functions only."""
