"""Training of both networks, and the loading of trained runs."""
