"""The two ways in which a command ends badly."""


class UserError(Exception):
    """A mistake that the user can mend: exit code 2, no traceback.

    The message names the file or option, what was expected, what was found, and what to do.
    """


class CheckFailed(Exception):
    """Work that ran but whose result did not pass a check: exit code 1, no traceback."""
