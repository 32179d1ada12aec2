"""The version of Reviver, apart from `reviver` itself, which knows every other module."""

__version__ = "0.1.0"
