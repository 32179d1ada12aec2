"""Limits of custom sequence files. Files are not trusted, so each reader checks them before it allocates memory."""

MAX_BYTES = 4 << 30
"""Maximum size of the padded table of numbers, and of the array `x` of an .npz file: 4 GiB."""
MAX_ROWS = 10_000_000
MAX_LABEL = 200
"""Maximum number of characters of a label."""
MAX_FIELD = 1 << 24
"""Maximum number of characters of a CSV field or a text of a Parquet file: about two million numbers."""
MAX_ROW = MAX_FIELD + (1 << 20)
"""Maximum number of characters of a CSV row, over all its columns and lines."""
MAX_COLUMNS = 10_000
"""Maximum number of columns of a CSV file."""
MAX_NPZ_SIDE = 1 << 30
"""Maximum size of the arrays `y` and `lengths` of an .npz file, in bytes."""
