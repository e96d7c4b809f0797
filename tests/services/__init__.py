"""The real services that the tests run on: own launchers of Postgres and Redis.

They start as children of the test process on random loopback ports and live in temporary folders. Nothing here
knows the server under test.
"""


class MissingService(RuntimeError):
    """No binary of a service is to be had here; the message is one line that says what to install."""
