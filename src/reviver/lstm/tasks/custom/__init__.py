"""Custom sequences: reading files, classes and splits, and the task."""
