"""What is made of finished runs: figures, model cards, exports, and the report."""
