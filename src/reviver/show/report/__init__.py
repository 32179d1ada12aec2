"""The report: the results of finished run folders as one HTML page, one PDF and report.json."""
