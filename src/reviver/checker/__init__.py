"""The check of an assignment: a network that a student wrote, compared with the equations, and the likely mistake by name."""
