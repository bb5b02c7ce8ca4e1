"""What spans and baggage say of the cell and the tenant."""

from opentelemetry import baggage
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cellplane.cell import CellContext, entered
from cellplane.cell.telemetry import CellSpans, baggage_of_context

ACME = CellContext("cell-3", 7, "acme")


def test_spans_say_the_cell_and_of_a_request_the_tenant() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(CellSpans("cell-3"))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("outside"):
        pass
    with entered(ACME), tracer.start_as_current_span("request"), tracer.start_as_current_span("query"):
        pass
    found = {span.name: dict(span.attributes or {}) for span in exporter.get_finished_spans()}
    request = {"cell.id": "cell-3", "cell.epoch": 7, "tenant.id": "acme"}
    assert found == {"outside": {"cell.id": "cell-3"}, "request": request, "query": request}
    provider.shutdown()


def test_baggage_is_carried_while_the_block_runs() -> None:
    with baggage_of_context():
        assert baggage.get_all() == {}
    with entered(ACME):
        with baggage_of_context():
            assert baggage.get_all() == {"cell.id": "cell-3", "tenant.id": "acme"}
        assert baggage.get_all() == {}
