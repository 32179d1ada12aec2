"""What the networks learn from: tasks, sequences and images."""
