"""Training images: data sets by name, image folders, IDX files and NumPy files, each read into one tensor."""
