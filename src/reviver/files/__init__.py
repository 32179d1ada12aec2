"""File input and output: libraries read, and writes are atomic."""
