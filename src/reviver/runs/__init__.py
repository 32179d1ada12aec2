"""Training runs: run folders, checkpoints, sessions, and the processes that train one run together."""
