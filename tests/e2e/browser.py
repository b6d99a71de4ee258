"""A real browser, and a server for its pages that can point its own name to another machine."""

from __future__ import annotations

import json
import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.e2e.running import PATIENCE_S

PAGE = Path(__file__).parent / "pages" / "page.html"
# Every name that ends in .example is at this address, which is not that of the router.
ADDRESS = "127.0.0.2"


def chromium() -> str | None:
    """The path of the browser; None: there is none on this machine."""
    return shutil.which("chromium")


@dataclass
class PageServer:
    """Serves the page at `/page`; with a `rebound_port`, relays everything else to that port of 127.0.0.1.

    To the browser and to the router a relayed request is one after DNS rebinding: the name is the page's, the
    machine is the router's.
    """

    page: str
    port: int
    rebound_port: int | None
    seen: queue.Queue[dict[str, str]] = field(default_factory=queue.Queue)

    def url(self, name: str) -> str:
        return f"http://{name}:{self.port}/page"


@contextmanager
def page_server(
    router: str, model: str, feedback: str, *, port: int = 0, rebound_port: int | None = None
) -> Iterator[PageServer]:
    """Serve a page that calls the router at this URL."""
    placeholders = {
        "%ROUTER%": router,
        "%MODEL%": json.dumps(model),
        "%FEEDBACK%": json.dumps(feedback),
    }
    page = PAGE.read_text("utf-8")
    for placeholder, value in placeholders.items():
        page = page.replace(placeholder, value)
    with ThreadingHTTPServer((ADDRESS, port), _Handler) as server:
        server.daemon_threads = True
        pages = PageServer(page, server.server_port, rebound_port)
        server.pages = pages  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield pages
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_OPTIONS(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None: ...

    def _answer(self) -> None:
        pages: PageServer = self.server.pages  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/page":
            self._send(200, pages.page.encode())
        elif self.path == "/seen":
            pages.seen.put(json.loads(body))
            self._send(200, b"")
        elif pages.rebound_port is not None:
            self._relay(pages.rebound_port, body)
        else:
            self._send(404, b"")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _relay(self, port: int, body: bytes) -> None:
        """Send the browser's bytes to the other port, and its bytes back."""
        del self.headers["Connection"]
        self.headers["Connection"] = "close"
        head = f"{self.requestline}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in self.headers.items()) + "\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as router:
            router.sendall(head.encode("latin-1") + body)
            while block := router.recv(65_536):
                self.wfile.write(block)
        self.close_connection = True


def seen_by_a_page(pages: PageServer, name: str) -> dict[str, str]:
    """Open the page under this name in a browser; return what each of its calls could read."""
    with _browser(pages.url(name)):
        return pages.seen.get(timeout=2 * PATIENCE_S)


def shown_by(url: str) -> str:
    """The elements of a page once its scripts have run."""
    with _browser("--dump-dom", "--virtual-time-budget=20000", url) as browser:
        return browser.communicate(timeout=2 * PATIENCE_S)[0].decode()


@contextmanager
def _browser(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    path = chromium()
    assert path is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [
                path,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--no-proxy-server",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-features=HttpsUpgrades",
                f"--user-data-dir={profile}",
                f"--host-resolver-rules=MAP *.example {ADDRESS}",
                *arguments,
            ],
            env={"PATH": os.environ["PATH"], "HOME": profile},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with browser:
            try:
                yield browser
            finally:
                browser.terminate()
