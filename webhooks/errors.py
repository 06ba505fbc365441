"""Errors that more than one part raises."""


class CannotRunError(Exception):
    """The process cannot start or go on; the message says what an operator must do."""
