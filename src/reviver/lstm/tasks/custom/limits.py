"""Limits of custom sequence files. Files are not trusted, so each reader checks them before it allocates memory."""

MAX_BYTES = 4 << 30
"""Maximum size of the padded table of numbers, and of the largest array of an .npz file: 4 GiB."""
MAX_ROWS = 10_000_000
"""Maximum number of sequences."""
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

PARQUET_BATCH_ROWS = 4096
"""Maximum number of rows of a Parquet file that are read at a time."""
PARQUET_BATCH_BYTES = 1 << 25
"""Approximate number of bytes of a Parquet file that are read at a time."""
PARQUET_FREE_BYTES = 1 << 22
"""Size that the pages of a Parquet file may claim regardless of the size of the file."""
PARQUET_MAX_RATIO = 1032
"""Maximum ratio of the claimed size of the pages to the size of the file, beyond `PARQUET_FREE_BYTES`: that of deflate."""
PARQUET_THRIFT_LIMITS = {"thrift_string_size_limit": 1 << 20, "thrift_container_size_limit": 1 << 20}
"""Limits of pyarrow for strings and lists in the metadata of a Parquet file."""
