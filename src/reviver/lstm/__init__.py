"""The LSTM: its equations, the memory tasks it learns, its training, and what can be asked of it after."""
