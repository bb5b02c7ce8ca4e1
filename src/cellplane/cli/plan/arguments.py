"""What the options of `cellplane plan` share: whole numbers in a list, and refusals that name the option."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from cellplane.errors import ValidationError

MAX_LISTED = 1_000
"""Most numbers of one list."""


def whole_numbers(context: click.Context, param: click.Parameter, text: str) -> tuple[int, ...]:
    """Callback of an option: the numbers of ``1,4,16``, in that order; ``2..10`` is a range with both ends.

    Raises:
        click.BadParameter: the text is something else, or names no number or too many.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dots, last = part.partition("..")
        try:
            low, high = int(first), int(last if dots else first)
        except ValueError:
            message = f"expected whole numbers such as 1,4,16 or 2..10, found {part!r}"
            raise click.BadParameter(message, context, param) from None
        if len(found) + high - low >= MAX_LISTED:
            raise click.BadParameter(f"{part!r} makes more than {MAX_LISTED} numbers", context, param)
        found.extend(range(low, high + 1))
    if not found:
        raise click.BadParameter(f"{text!r} names no number", context, param)
    return tuple(found)


@contextmanager
def naming_options() -> Iterator[None]:
    """Turn a refused value into wrong usage (exit code 2) where an option of the running command is its field."""
    try:
        yield
    except ValidationError as error:
        context = click.get_current_context()
        for param in context.command.params:
            if param.name == error.field:
                raise click.BadParameter(error.message, ctx=context, param=param) from error
        raise
