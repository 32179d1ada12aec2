"""Tools of the project: its lock, generated pages, the site, the teaching kit, wheels and releases."""
