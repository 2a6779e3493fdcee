"""The page of a report: templates, style and script, which report_page.py puts into one file."""
