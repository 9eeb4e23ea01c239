"""The one error of the stack."""


class StackError(Exception):
    """A server or process did not start, or ended too early; one line says which and why."""
