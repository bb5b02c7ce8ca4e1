"""What can go wrong with a move."""

from cellplane.errors import CellplaneError


class MoveError(CellplaneError):
    """A move cannot go on, or not as asked."""


class NotMovableError(MoveError):
    """What the tenant has cannot be moved as it is. ``refusals`` says why, each with advice."""

    def __init__(self, refusals: tuple[str, ...]) -> None:
        self.refusals = refusals
        super().__init__("the tenant cannot be moved as it is:\n" + "\n".join(f"  {each}" for each in refusals))


class NotEmptyError(MoveError):
    """The target has rows of the tenant already."""


class NotTheSameError(MoveError):
    """Source and target differ, where they must not."""


class NotInTimeError(MoveError):
    """What was waited for did not come."""


class ChangedError(MoveError):
    """The directory is not any more as it was when it was looked at: what follows is decided anew."""


class StoreError(MoveError):
    """A cell's store cannot be reached, or refuses."""


class HookError(MoveError):
    """A hook refuses a phase, or could not be told of one."""
