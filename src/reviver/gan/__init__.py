"""The GAN: its two networks, its training step, its scores, and what can be done in its latent space."""
