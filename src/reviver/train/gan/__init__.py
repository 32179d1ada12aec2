"""Training of the GAN: the loop, what it records, and the loading of a trained run."""
