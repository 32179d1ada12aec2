"""The report: what the run folders of both networks say, as one HTML page and one PDF."""
