"""What the networks learn from: tasks, sequences, images, and packed arrays."""
