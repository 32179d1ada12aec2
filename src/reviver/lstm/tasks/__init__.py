"""The tasks that an LSTM can be trained on."""
