"""The suites: named lists of problems, one JSON file each."""
