"""What goes wrong in a way that the person at the terminal can mend."""


class CommandError(Exception):
    """Shown as one line, with a hint below it and no traceback."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
