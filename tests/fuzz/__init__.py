"""Fuzzing of every file reader: a damaged file must give a correct result or a `ReviverError`.

readers.py      table of readers: valid files, and assertions about what is read
mutations.py    mutations of any bytes, and of formats: their lengths, names and counts
supervisor.py   a process that reads damaged files, and who counts its crashes and hangs and saves what caused them
__main__.py     long run: make fuzz
"""
