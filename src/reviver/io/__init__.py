"""Files: reading what is not trusted, writing atomically."""
