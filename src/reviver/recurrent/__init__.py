"""A recurrent cell as text: its equations, from which step, derivative and native pass follow."""
