"""How what still starts learns that it need not any more."""


class StoppedError(Exception):
    """The fleet was asked to stop while it started."""
