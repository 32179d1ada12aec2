"""The tasks of the LSTM, one a file, see `reviver.settings.tasks`."""
