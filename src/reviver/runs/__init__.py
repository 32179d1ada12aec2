"""Training runs on disk: folders, checkpoints, randomness, devices, progress."""
