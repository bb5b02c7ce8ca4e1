"""What the Django app of these tests answers; ``apps`` says what."""

import os
import threading
from pathlib import Path

from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import path

from cellplane.cell import carried
from e2e_sdk.apps import async_parts, by_task, by_thread, log_line_of_now, parts, whose


def read_sync(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"handler": whose(), "thread": by_thread()})


async def read_async(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"handler": whose(), "task": await by_task()})


def read_stream(request: HttpRequest) -> HttpResponseBase:
    is_asgi = hasattr(request, "scope")
    return StreamingHttpResponse(async_parts() if is_asgi else parts())


def read_background(request: HttpRequest) -> HttpResponseBase:
    folder = Path(os.environ["APP_FOLDER"])
    threading.Thread(target=carried(log_line_of_now), args=(folder,)).start()
    return JsonResponse({"handler": whose()})


def read_handler(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"handler": whose()})


urlpatterns = [
    path("sync", read_sync),
    path("async", read_async),
    path("stream", read_stream),
    path("background", read_background),
    path("a b", read_handler),
    path("healthz", read_handler),
]
