"""The command line: one typed function per command, whose signature and docstring are the command."""

from reviver.cli.app import main

__all__ = ["main"]
