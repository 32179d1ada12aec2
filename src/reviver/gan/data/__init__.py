"""Training images: data sets by name, image folders and files, arrays."""
