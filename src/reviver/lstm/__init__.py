"""The LSTM: its equations, the layer, the networks built on it, and its native kernel."""
