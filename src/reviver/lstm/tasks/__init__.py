"""Tasks for the LSTM."""
