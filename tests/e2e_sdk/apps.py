"""Small apps of four frameworks, each behind its door, and the servers that run them: ``python -m e2e_sdk.apps``.

They all answer alike: whose request it is, as the handler, a thread, a task, and a stream see it.
"""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn

from cellplane.cell import CellMiddleware, Moves, carried, current, current_or_none, entered
from cellplane.cell.proof import ProofKeys
from cellplane.cell.wsgi import CellWsgiMiddleware

PARTS = 5
"""Of an answer that is a stream."""

CELL_ID = "cell-a"


def whose() -> str:
    context = current_or_none()
    return "nobody" if context is None else f"{context.tenant_id}@{context.epoch}"


def by_thread() -> str:
    """Whose it is, as a thread sees it that was made by hand."""
    found: list[str] = []
    for target in (note, carried(note)):
        thread = threading.Thread(target=target, args=(found,))
        thread.start()
        thread.join()
    return ",".join(found)


def note(found: list[str]) -> None:
    found.append(whose())


def parts() -> Iterator[bytes]:
    for _ in range(PARTS):
        time.sleep(0.002)
        yield f"{whose()}\n".encode()


async def async_parts() -> AsyncIterator[bytes]:
    for _ in range(PARTS):
        await asyncio.sleep(0.002)
        yield f"{whose()}\n".encode()


async def by_task() -> str:
    async def ask() -> str:
        await asyncio.sleep(0.001)
        return whose()

    found = await asyncio.gather(asyncio.create_task(ask()), asyncio.to_thread(whose))
    return ",".join(found)


def log_line(folder: Path, line: str) -> None:
    with (folder / "background").open("a") as file:
        file.write(f"{line}\n")


def fastapi_app(folder: Path) -> Any:
    from fastapi import BackgroundTasks, FastAPI  # noqa: PLC0415  # each process imports one framework
    from starlette.responses import StreamingResponse  # noqa: PLC0415

    app = FastAPI()

    @app.get("/async")
    async def read_async() -> dict[str, str]:
        return {"handler": whose(), "task": await by_task()}

    @app.get("/sync")
    def read_sync() -> dict[str, str]:
        return {"handler": whose(), "thread": by_thread()}

    @app.get("/stream")
    async def read_stream() -> StreamingResponse:
        return StreamingResponse(async_parts())

    @app.get("/sync-stream")
    def read_sync_stream() -> StreamingResponse:
        return StreamingResponse(parts())

    @app.get("/background")
    async def read_background(tasks: BackgroundTasks) -> dict[str, str]:
        async def later() -> None:
            await asyncio.sleep(0.01)
            log_line(folder, f"async {whose()}")

        tasks.add_task(later)
        tasks.add_task(lambda: log_line(folder, f"sync {whose()}"))
        return {"handler": whose()}

    @app.get("/a b")
    async def read_escaped() -> dict[str, str]:
        return {"handler": whose()}

    @app.get("/healthz")
    def read_health() -> dict[str, str]:
        return {"handler": whose()}

    return app


def starlette_app(folder: Path) -> Any:
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.background import BackgroundTask  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import JSONResponse, StreamingResponse  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    async def read_async(request: Request) -> JSONResponse:
        return JSONResponse({"handler": whose(), "task": await by_task()})

    def read_sync(request: Request) -> JSONResponse:
        return JSONResponse({"handler": whose(), "thread": by_thread()})

    async def read_stream(request: Request) -> StreamingResponse:
        return StreamingResponse(async_parts())

    async def read_background(request: Request) -> JSONResponse:
        context = current()

        async def later() -> None:
            await asyncio.sleep(0.01)
            with entered(context):
                log_line(folder, f"async {whose()}")

        return JSONResponse({"handler": whose()}, background=BackgroundTask(later))

    routes = [
        Route("/async", read_async),
        Route("/sync", read_sync),
        Route("/stream", read_stream),
        Route("/background", read_background),
    ]
    return Starlette(routes=routes)


def flask_app(folder: Path) -> Any:
    from flask import Flask, Response, stream_with_context  # noqa: PLC0415

    app = Flask(__name__)

    @app.get("/sync")
    def read_sync() -> dict[str, str]:
        return {"handler": whose(), "thread": by_thread()}

    @app.get("/stream")
    def read_stream() -> Response:
        return Response(stream_with_context(parts()))

    @app.get("/background")
    def read_background() -> dict[str, str]:
        threading.Thread(target=carried(log_line_of_now), args=(folder,)).start()
        return {"handler": whose()}

    @app.get("/a b")
    def read_escaped() -> dict[str, str]:
        return {"handler": whose()}

    @app.get("/healthz")
    def read_health() -> dict[str, str]:
        return {"handler": whose()}

    return app


def log_line_of_now(folder: Path) -> None:
    time.sleep(0.01)
    log_line(folder, f"thread {whose()}")


def configure_django() -> None:
    import django  # noqa: PLC0415
    from django.conf import settings  # noqa: PLC0415

    settings.configure(ROOT_URLCONF="e2e_sdk.django_urls", ALLOWED_HOSTS=["*"], SECRET_KEY="test", LOGGING_CONFIG=None)
    django.setup()


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 512


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main(kind: str, folder: Path, port: int) -> None:
    """Serve one app; ``kind`` names its framework, and behind a dash the way that it is served."""
    framework, _, way = kind.partition("-")
    moves = Moves.create(folder / "moves", CELL_ID)
    keys = folder / "proof-keys"
    guards: dict[str, Any] = {"moved": moves.moved, "proof": ProofKeys(keys) if keys.exists() else None}
    if framework == "django":
        configure_django()
    if way == "wsgi":
        if framework == "flask":
            app = flask_app(folder)
        else:
            from django.core.wsgi import get_wsgi_application  # noqa: PLC0415

            app = get_wsgi_application()
        guarded = CellWsgiMiddleware(app, CELL_ID, **guards)
        make_server("127.0.0.1", port, guarded, _Threads, _Quiet).serve_forever()
    elif way == "werkzeug":
        from werkzeug.serving import run_simple  # noqa: PLC0415

        run_simple("127.0.0.1", port, CellWsgiMiddleware(flask_app(folder), CELL_ID, **guards), threaded=True)
    else:
        if framework == "django":
            from django.core.asgi import get_asgi_application  # noqa: PLC0415

            app = get_asgi_application()
        else:
            app = {"fastapi": fastapi_app, "starlette": starlette_app}[framework](folder)
        guarded_asgi: Any = CellMiddleware(app, CELL_ID, **guards)
        uvicorn.run(guarded_asgi, host="127.0.0.1", port=port, log_level="warning", lifespan="off", backlog=512)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
