"""Real processes that are killed, starved or shut out on purpose, and what is looked at afterwards."""

import contextlib
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import requests
from conftest import ROOT, free_port

from skinai.artefacts import TEMPORARY_PREFIX
from skinai.service.schema import MAX_DEADLINE_MS
from tests.data.test_download import Dataverse, Handler

PATIENCE_S = 600
SKINAI = (sys.executable, "-m", "skinai")
# A user whom the system does not know and who owns nothing. It may read what others may not, because the interpreter
# can lie in a folder of root's, and it may write nowhere but where everybody may.
STRANGER = ("setpriv", "--reuid=64321", "--regid=64321", "--clear-groups")
STRANGER += ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search", "--")
CAN_BE_A_STRANGER = os.geteuid() == 0 and shutil.which("setpriv") is not None
# What comes of nobody's writing.
_CHATTER = ("INFO: Created TensorFlow Lite", "WARNING: All log messages before", "I0000 00:00:", "W0000 00:00:")


# Processes


class Child:
    """A process that can be killed; what it says goes into files that nobody has to read."""

    def __init__(self, *command, env=None, **options):
        self._folder = Path(tempfile.mkdtemp(prefix="said-"))
        self.begun, self.said = time.monotonic(), None
        with (self._folder / "out").open("wb") as out, (self._folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdout=out,
                stderr=err,
                env=_change_environment(env),
                **({"cwd": ROOT} | options),
            )

    @property
    def lives(self):
        return self.process.poll() is None

    @property
    def stands_still(self):
        """Whether it was stopped, and has not ended."""
        return _read(f"/proc/{self.process.pid}/stat").rpartition(")")[2].split()[:1] == ["T"]

    @property
    def first_line(self):
        """What it has printed first, once that is a whole line."""
        line, end, _ = _read(self._folder / "out").partition("\n")
        return line if end else ""

    @property
    def work_s(self):
        """How many seconds of a processor it and the processes that it has started have taken."""
        pid = self.process.pid
        children = _read(f"/proc/{pid}/task/{pid}/children").split()
        times = [_read(f"/proc/{one}/stat").rpartition(")")[2].split()[11:13] for one in (pid, *children)]
        return sum(int(part) for parts in times for part in parts) / os.sysconf("SC_CLK_TCK")

    def kill_when(self, due, *, every_s):
        """Kill it as soon as `due` holds, which is asked so often; return whether it was running then."""
        until = time.monotonic() + PATIENCE_S
        while self.lives and not due():
            assert time.monotonic() < until, "the moment never came"
            time.sleep(every_s)
        hit = self.lives
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        return self.finish().code == -signal.SIGKILL and hit

    def finish(self):
        """Wait for its end; return its code, what it said, and how long it took."""
        if self.said is None:
            try:
                code = self.process.wait(PATIENCE_S)
            finally:
                if self.lives:
                    self.process.kill()
                    self.process.wait()
            seconds = time.monotonic() - self.begun
            out, err = ((self._folder / name).read_text(errors="replace") for name in ("out", "err"))
            self.said = SimpleNamespace(code=code, out=out, err=err, seconds=seconds)
            shutil.rmtree(self._folder)
        return self.said


def run(*command, env=None, **options):
    """Run a command to its end through pipes, so that a limit on files is none on what it says."""
    begun, worked = time.monotonic(), _count_work()
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        env=_change_environment(env),
        check=False,
        timeout=PATIENCE_S,
        **({"cwd": ROOT} | options),
    )
    said = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    seconds, work_s = time.monotonic() - begun, _count_work() - worked
    return SimpleNamespace(code=done.returncode, out=next(said), err=next(said), seconds=seconds, work_s=work_s)


def _count_work():
    """Return how many seconds of a processor the processes have taken that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _change_environment(changes):
    """Return the variables of this process with changes; None takes one away."""
    changed = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | (changes or {})
    return {name: value for name, value in changed.items() if value is not None}


def succeed(*command, **options):
    """Run a command that has to end well."""
    done = run(*command, **options)
    assert done.code == 0, done.err[-2000:]
    return done


def _read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def find_sentence(done):
    """Return the one sentence with which a command gave up; it must have given up with nothing but that."""
    assert done.code == 2, (done.code, done.out[-1000:], done.err[-2000:])
    require_no_traceback(done.err)
    last = [line for line in done.err.splitlines() if line and not line.startswith(_CHATTER)][-1]
    assert last.startswith("skinai: "), done.err[-2000:]
    assert last.endswith("."), last
    return last.removeprefix("skinai: ")


def require_no_traceback(text):
    assert "Traceback" not in text, text[-3000:]
    assert "Exception ignored" not in text, text[-3000:]


def limit_files(most_bytes):
    """Return what makes a process' disk full at files of this size, as an option of the functions above."""
    return {"preexec_fn": partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most_bytes, most_bytes))}


def wait_until(condition, patience_s=PATIENCE_S):
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


# Moments


@dataclass(frozen=True)
class Moment:
    """When a process is to be killed: after a share of its work, or inside its n-th write.

    Attributes
    ----------
    share : float
        Of the processor's time, which other work on the machine does not lengthen; 0 where it is inside a write.
    write : int
        From 1; 0 where it is after a time.
    """

    share: float = 0.0
    write: int = 0


def draw_moments(rng, tally, count, *, writes):
    """Draw moments until so many kills have hit a running process; every other one is inside a write.

    A run makes at least so many writes. A kill that comes too late, as the test was held up, hits nothing: four times
    as many are tried.
    """
    wanted = sum(tally.hits) + count
    for number in range(4 * count):
        if sum(tally.hits) == wanted:
            return
        yield Moment(write=rng.randint(1, writes)) if number % 2 else Moment(share=rng.uniform(0.1, 0.9))


class Writes:
    """Counts the writes that begin in folders, by the names of the temporary files that come up.

    One that begins and ends between two looks is missed, so a kill comes no earlier than it is meant to.
    """

    def __init__(self, *folders):
        self._folders = folders
        self._old = set(self._look())
        self._seen = set()

    def _look(self):
        for folder in self._folders:
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):
                    if name.startswith(TEMPORARY_PREFIX):
                        yield os.path.join(folder, name)

    def reach(self, number):
        """Whether the n-th write is going on."""
        now = set(self._look()) - self._old
        self._seen |= now
        return len(self._seen) >= number and bool(now)


def kill_at(moment, command, *, folders, work_s, ended=None, **options):
    """Start a command and kill it at a moment; return whether that hit it.

    Parameters
    ----------
    moment : Moment
    command : sequence of str
    folders : sequence of Path
        Where its writes are looked for.
    work_s : float
        How many seconds of a processor it takes undisturbed.
    ended : list, optional
        Gets what the process has said.
    """
    writes, child = Writes(*folders), Child(*command, **options)
    if moment.write:
        hit = child.kill_when(lambda: writes.reach(moment.write), every_s=0.0005)
    else:
        hit = child.kill_when(lambda: child.work_s >= moment.share * work_s, every_s=0.005)
    if ended is not None:
        ended.append(child.said)
    return hit


class Tally:
    """How many kills there were, and how many hit a process that was running."""

    def __init__(self):
        self.hits = []

    def add(self, hit):
        self.hits.append(hit)

    def require(self, count):
        """Require so many that hit."""
        assert sum(self.hits) == count, self.hits


# Folders


def hash_files(folder):
    """Return the hash of every file below a folder by its path there; temporary files are left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX)
    }


def require_old_or_new(folder, old, new):
    """Require that every file is the one from before, or the one that an undisturbed run writes."""
    for name, digest in hash_files(folder).items():
        assert digest in (old.get(name), new.get(name)), f"{name} is neither the old nor the new one"
    missing = {name for name in old if name in new} - set(hash_files(folder))
    assert not missing, missing


def list_temporaries(folder):
    return sorted(path.name for path in Path(folder).rglob(f"{TEMPORARY_PREFIX}*"))


@contextlib.contextmanager
def open_folder(name="skinai"):
    """Yield a folder that every user can enter; a test's own belongs to its user alone."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


# Servers


@contextlib.contextmanager
def serving_pages(*before, env=None, **options):
    """Yield the address of the app in a process of its own, and the process; `before` is what starts it."""
    port = free_port()
    with _started(*before, *SKINAI, "app", "--port", port, env={"SKINAI_DATA": ""} | (env or {}), **options) as child:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(f"{address}/_stcore/health", child))
        yield address, child


@contextlib.contextmanager
def serving_requests(*arguments, before=(), env=None, **options):
    """Yield the address of the service in a process of its own, and the process."""
    command = (*before, *SKINAI, "serve", "--port", 0, "--workers", 1, *arguments)
    with _started(*command, env=env, **options) as child:
        wait_until(lambda: child.first_line or not child.lives)
        address = child.first_line
        wait_until(lambda: _answers(f"{address}/readyz", child))
        yield address, child


class Slow:
    """Hands bytes on in pieces, with a wait between them, as a network does."""

    def __init__(self, file):
        self._file = file

    def write(self, content):
        for start in range(0, len(content), 500):
            self._file.write(content[start : start + 500])
            self._file.flush()
            time.sleep(0.02)

    def __getattr__(self, name):
        return getattr(self._file, name)


class SlowHandler(Handler):
    """Serves HAM10000's files slowly, and goes on where it is asked to."""

    def setup(self):
        super().setup()
        self.wfile = Slow(self.wfile)


@contextlib.contextmanager
def serving_pictures():
    """Yield the address of a Dataverse with a few pictures that are drawn by program."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowHandler)
    server.daemon_threads, server.block_on_close, server.dataverse = True, False, Dataverse()
    server.handle_error = lambda *_: None  # who is killed hangs up
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def _started(*command, **options):
    child = Child(*command, **options)
    try:
        yield child
    finally:
        child.process.terminate()
        child.finish()


def _answers(url, child):
    assert child.lives, child.finish().err[-2000:]
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=5).status_code == 200
    return False


def ask_service(address, picture, **options):
    """Return status and document of the service's answer for a picture."""
    options = {"deadline_ms": MAX_DEADLINE_MS} | options
    answer = requests.post(
        f"{address}/v1/predict", files={"pictures": ("a.png", picture)}, params=options, timeout=PATIENCE_S
    )
    return answer.status_code, answer.json()
