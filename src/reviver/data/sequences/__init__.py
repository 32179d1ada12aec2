"""Custom sequences: files, tables, labels and splits, standardization, the task, and predictions."""
