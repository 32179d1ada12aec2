"""Custom sequences: files, tables, labels and splits, standardisation, the task, and predictions."""
