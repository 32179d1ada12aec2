"""The GAN: its two networks, image sets, training, and what can be done in its latent space."""
