"""File input and output: readers of untrusted files, and atomic writes."""
