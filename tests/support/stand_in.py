"""A server on loopback that stands for the places that sets are fetched from, and counts what is asked of it."""

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn:
    """Serves :attr:`files`; to be used as a context manager."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        """Content by path, without the first slash."""
        self.asked: Counter[str] = Counter()
        self.cut: set[str] = set()
        """Paths of which half is sent before the connection ends."""
        self.stalled: set[str] = set()
        """Paths of which half is sent, and no more until the end of the test."""
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "StandIn":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.lstrip("/")
                # What torchvision asks first, to see where it is sent on to: it means the method.
                stand_in.asked[path] += self.headers.get("Method") != "HEAD"
                content = stand_in.files.get(path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if path in stand_in.cut | stand_in.stalled:
                    content = content[: len(content) // 2]
                self.wfile.write(content)
                if path in stand_in.stalled:
                    self.wfile.flush()
                    stand_in._over.wait()

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        return Handler
