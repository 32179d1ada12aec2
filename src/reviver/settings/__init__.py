"""The settings of both networks and of their training, with their presets: each bound is declared once, on its field."""
