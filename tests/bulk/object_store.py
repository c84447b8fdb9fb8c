"""An object store that answers on this computer while a test runs: S3's addresses for one bucket, as far as needed."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

KEYS = {
    "AWS_ACCESS_KEY_ID": "anyone",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
}


@contextlib.contextmanager
def running(objects):
    """Yield the URL of a bucket with these objects, a mapping of key to bytes that may change meanwhile.

    An object of None is one for which the store answers with an error of its own.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.objects = objects
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield "s3://bucket{}?" + f"scheme=http&endpoint_override=127.0.0.1:{server.server_port}&region=us-east-1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = urlsplit(self.path)
        key = unquote(parts.path).removeprefix("/bucket").lstrip("/")
        if not key:
            return self._send(200, self._list(parse_qs(parts.query)))
        if key not in self.server.objects:
            return self._send(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")
        content = self.server.objects[key]
        if content is None:
            return self._send(403, b"<Error><Code>AccessDenied</Code><Message>not for you</Message></Error>")
        if not (wanted := self.headers.get("Range")):
            return self._send(200, content)
        first, last = wanted.removeprefix("bytes=").split("-")
        return self._send(206, content[int(first) : int(last) + 1])

    def _list(self, query):
        prefix = query.get("prefix", [""])[0]
        keys = sorted(key for key in self.server.objects if key.startswith(prefix))
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[key] or b'')}</Size></Contents>"
            for key in keys
        )
        return (
            f"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>{len(keys)}</KeyCount>{found}"
            "</ListBucketResult>"
        ).encode()

    def _send(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass
