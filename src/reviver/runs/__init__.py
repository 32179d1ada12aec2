"""Training runs: run folders, checkpoints, sessions, random number generators, devices, and progress."""
