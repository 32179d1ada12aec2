"""Tools of the project: its lock and audit, generated pages, the site, the teaching kit, wheels and releases."""
