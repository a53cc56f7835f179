"""The one exception that is meant for the user."""


class UserError(Exception):
    """A failure that the user can mend.

    The message is one line that names the file, variable, key or day, says what was expected and
    what to do. The command line prints it without a traceback and exits with status 2.
    """
