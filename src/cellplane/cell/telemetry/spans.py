"""The cell and the tenant on spans, and in baggage, so that what other services trace says them too."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from cellplane.cell.context import current_or_none

CELL_ATTRIBUTE = "cell.id"
EPOCH_ATTRIBUTE = "cell.epoch"
TENANT_ATTRIBUTE = "tenant.id"


class CellSpans(SpanProcessor):
    """Gives each span that begins the attributes ``cell.id`` and, of a request, ``cell.epoch`` and ``tenant.id``.

    ``provider.add_span_processor(CellSpans("cell-3"))``, before those that export.

    Args:
        cell_id: this cell's id.
    """

    def __init__(self, cell_id: str) -> None:
        self._cell_id = cell_id

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """Note them."""
        span.set_attribute(CELL_ATTRIBUTE, self._cell_id)
        found = current_or_none()
        if found is not None:
            span.set_attribute(EPOCH_ATTRIBUTE, found.epoch)
            span.set_attribute(TENANT_ATTRIBUTE, found.tenant_id)


@contextmanager
def baggage_of_context() -> Iterator[None]:
    """While the block runs, what is sent to others carries the cell and the tenant as baggage (W3C).

    Without a context it carries nothing more. Baggage crosses to whoever is called: use it towards your own services.
    """
    found = current_or_none()
    if found is None:
        yield
        return
    carried = baggage.set_baggage(CELL_ATTRIBUTE, found.cell_id)
    carried = baggage.set_baggage(TENANT_ATTRIBUTE, found.tenant_id, carried)
    token = otel_context.attach(carried)
    try:
        yield
    finally:
        otel_context.detach(token)
