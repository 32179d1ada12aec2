"""Module that the server of the fixture `server` imports."""

from tests.runs.small import warm_up

warm_up()
