"""Packed data: arrays in .npy files with a checksum per block, which training maps instead of loading."""
