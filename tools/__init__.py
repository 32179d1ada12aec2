"""Tools of the project: lock and audit of its dependencies, and the settings page of the docs."""
