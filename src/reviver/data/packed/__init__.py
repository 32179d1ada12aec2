"""Packed data: .npy files beside a record with their checksums, which training maps instead of loading."""
