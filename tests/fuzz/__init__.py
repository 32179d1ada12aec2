"""Damaged and hostile files for every reader: a right answer or our own error, never anything else.

readers.py      the table of readers: real files, and what must hold of what is read
mutations.py    damage to any bytes
formats.py      damage that knows a format: its lengths, names and counts
worker.py       reads damaged files, one line of report for each
supervisor.py   runs a worker, notices if it crashes or hangs, keeps what it stumbled over
__main__.py     the long job: make fuzz
"""
