"""Fuzzing of every file reader: a damaged file must give a correct result or a `ReviverError`.

readers.py      table of readers: valid files, and assertions about what is read
mutations.py    mutations of any bytes
formats.py      mutations that know a format: its lengths, names and counts
worker.py       process that reads damaged files and writes one line for each
supervisor.py   starts a worker, detects crashes and hangs, saves the inputs that caused them
__main__.py     long run: make fuzz
"""
