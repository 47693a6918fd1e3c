"""The one exception a user is meant to read."""


class UserError(Exception):
    """Something the user can put right: one sentence saying what, where, and what to do.

    The command line prints it and exits with code 2; a notebook shows it as the last line.
    """
