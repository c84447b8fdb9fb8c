"""Visitors of the pages without a browser: programs that speak with the server as its front end does."""

import asyncio
import contextlib
import http.client
import ssl
import uuid
from types import SimpleNamespace
from urllib.parse import urlsplit

import requests
from anyio.from_thread import start_blocking_portal
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

# For what should take a moment; a machine can be busy.
PATIENCE_S = 120
MIB = 1024 * 1024


def form(content, *, name="lesion.jpg"):
    """Return a form with one file, as the front end sends it."""
    head = f'--edge\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    return head + content + b"\r\n--edge--\r\n"


def open_connection(address, verify=None):
    host = urlsplit(address).netloc
    if verify is None:
        return http.client.HTTPConnection(host, timeout=PATIENCE_S)
    return http.client.HTTPSConnection(host, timeout=PATIENCE_S, context=ssl.create_default_context(cafile=verify))


class Visit:
    """A session with its websocket and its token, as a browser has them, on one of the pages.

    Parameters
    ----------
    address : str
    verify : Path, optional
        The file of the server's certificate.
    page : str
        The page's path; the first one has none.
    """

    def __init__(self, address, verify=None, *, page=""):
        self.address, self.verify, self.page = address, verify, page
        asked = requests.get(f"{address}/_stcore/health", timeout=PATIENCE_S, verify=verify)
        self.token = asked.cookies["_streamlit_xsrf"]

    def __enter__(self):
        context = None if self.verify is None else ssl.create_default_context(cafile=self.verify)
        url = self.address.replace("http", "ws", 1) + "/_stcore/stream"
        options = {"origin": self.address, "subprotocols": ["streamlit"], "ssl": context, "proxy": None}
        # What comes is read and left, so that the end of the visit does not wait for it.
        options |= {"max_size": None, "max_queue": None, "open_timeout": PATIENCE_S, "ping_timeout": PATIENCE_S}
        with contextlib.ExitStack() as stack:
            # One thread alone reads and writes: OpenSSL loses what is sent while another thread reads, once in some
            # three hundred handshakes (https://github.com/python/cpython/issues/143756).
            self._portal = stack.enter_context(start_blocking_portal())
            self._socket = stack.enter_context(self._portal.wrap_async_context_manager(connect(url, **options)))
            begin = BackMsg()
            begin.rerun_script.query_string, begin.rerun_script.page_name = "", self.page
            self._tell(begin)
            while (told := self._listen()).WhichOneof("type") != "new_session":
                pass
            self.session = told.new_session.initialize.session_id
            self._stack = stack.pop_all()
        return self

    def _tell(self, message):
        self._portal.call(self._socket.send, message.SerializeToString())

    def _listen(self):
        return ForwardMsg.FromString(self._portal.call(asyncio.wait_for, self._socket.recv(), PATIENCE_S))

    def __exit__(self, *_):
        self._stack.close()

    def send(self, method, file, body=b"", *, session=None, announced=True, connection=None, **headers):
        """Return the answer for a file of the session, also where it comes before all is sent."""
        given = {"X-Xsrftoken": self.token, "Cookie": f"_streamlit_xsrf={self.token}"} | headers
        given["Content-Type"] = "multipart/form-data; boundary=edge"
        pieces = (body[start : start + MIB] for start in range(0, len(body), MIB))
        given |= {"Content-Length": str(len(body))} if announced else {"Transfer-Encoding": "chunked"}
        path = f"/_stcore/upload_file/{session or self.session}/{file}"
        with contextlib.closing(connection or open_connection(self.address, self.verify)) as connection:
            with contextlib.suppress(ConnectionError):  # what was answered before can be read all the same
                connection.request(method, path, pieces, given, encode_chunked=not announced)
            answer = connection.getresponse()
            return SimpleNamespace(status=answer.status, text=answer.read().decode())

    def put(self, file, size, *, announced=True):
        """Upload so many bytes and return the status."""
        return self.send("PUT", file, form(bytes(size)), announced=announced).status


class Shown:
    """What one run of a page's script has shown.

    Attributes
    ----------
    texts : list of str
        Of everything that is to be read.
    alerts, errors : list of str
        Those of them that stand in a coloured box, and those that are exceptions.
    pictures : list of str
        Addresses of pictures.
    elements : dict
        The last element of each other kind.
    """

    def __init__(self):
        self.texts, self.alerts, self.errors, self.pictures, self.elements = [], [], [], [], {}

    def add(self, element):
        """Take in an element."""
        kind = element.WhichOneof("type")
        one = getattr(element, kind)
        if kind in ("alert", "markdown", "html"):
            self.texts.append(one.body)
        if kind == "alert":
            self.alerts.append(one.body)
        elif kind == "exception":
            self.texts.append(one.message)
            self.errors.append(one.message)
        elif kind == "imgs":
            self.pictures += [image.url for image in one.imgs]
        elif kind not in ("markdown", "html"):
            self.elements[kind] = one

    @property
    def text(self):
        return "\n".join(self.texts)


class Visitor(Visit):
    """A session on a page whose script has run, and that keeps what was given to its widgets."""

    def __enter__(self):
        super().__enter__()
        self._agent = self._stack.enter_context(requests.Session())
        self._widgets, self._file = {}, None
        self._shown = self._read(Shown())
        return self

    def see(self):
        """Have the page's script run; return what it shows."""
        asked = BackMsg()
        asked.rerun_script.query_string, asked.rerun_script.page_name = "", self.page
        asked.rerun_script.widget_states.widgets.extend(self._widgets.values())
        self._tell(asked)
        self._shown = self._read(Shown())
        return self._shown

    def upload(self, content):
        """Give a picture, in place of the one before; return what is shown."""
        file = str(uuid.uuid4())
        answer = self.send("PUT", file, form(content, name="lesion.png"))
        assert answer.status == 204, answer.text
        widget = self._shown.elements["file_uploader"].id
        state = BackMsg().rerun_script.widget_states.widgets.add(id=widget)
        given = state.file_uploader_state_value.uploaded_file_info.add(file_id=file, name="lesion.png")
        given.size, given.file_urls.file_id = len(content), file
        self._widgets[widget] = state
        shown = self.see()
        if self._file is not None:
            assert self.send("DELETE", self._file).status == 204
        self._file = file
        return shown

    def fetch(self, url):
        """Return the bytes behind the address of a picture."""
        answer = self._agent.get(self.address + url, timeout=PATIENCE_S)
        assert answer.status_code == 200
        return answer.content

    def _read(self, shown):
        while True:
            told = self._listen()
            kind = told.WhichOneof("type")
            if kind == "new_session":  # the run before was given up for this one
                shown = Shown()
            elif kind == "delta" and told.delta.WhichOneof("type") == "new_element":
                shown.add(told.delta.new_element)
            elif kind == "script_finished" and told.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return shown
