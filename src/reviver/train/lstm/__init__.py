"""Training of the LSTM: the loop, its curriculum, its stopping rules, and the evaluation of a trained run."""
