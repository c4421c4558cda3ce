"""Sets that lie elsewhere, against a server on this machine that cuts, is slow, says wrong lengths and goes away."""

import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from test_data_shards import encoded, write

from supcrd.data import load
from supcrd.data.sources import remote
from supcrd.errors import DataError


class Server(ThreadingHTTPServer):
    """`files`: path -> bytes; `bad`: path -> (what is wrong, how often still)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.bad: dict[str, tuple[str, int]] = {}
        self.calls: Counter[str] = Counter()
        self.lock = threading.Lock()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        path = self.path.partition("?")[0].lstrip("/")
        with self.server.lock:
            self.server.calls[self.command] += 1
            wrong, left = self.server.bad.get(path, ("", 0)) if body else ("", 0)
            if left:
                self.server.bad[path] = wrong, left - 1
        content = self.server.files.get(path)
        if content is None or (left and wrong == "error"):
            self.send_response(404 if content is None else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if left and wrong == "slow":
            time.sleep(1.0)
        if left and wrong == "short":  # whole by its own words
            content = content[:-100]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hash(self.server.files[path])}"')
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2] if left and wrong == "cut" else content)
            if left and wrong == "cut":
                self.close_connection = True


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    monkeypatch.setattr(remote, "WAIT", 0.3)
    monkeypatch.setenv("SUPCRD_CACHE", str(tmp_path / "cache"))
    running = Server()
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    for split in ("train", "test"):
        for number in range(2):
            members = [(f"{number}{i}.{kind}", content) for i in range(3) for kind, content in
                       (("png", encoded(i)), ("cls", b"%d" % (i % 2)))]  # fmt: skip
            running.files[f"set/{split}-{number:03}.tar"] = write(tmp_path / "made.tar", members).read_bytes()
    yield running
    running.shutdown()
    running.server_close()


def test_brought_once_and_again_where_it_changed(server):
    source = f"shards:{server.address}/set/{{train,test}}-{{000..001}}.tar"
    server.files["set/classes.txt"] = b"cat\ndog\n"
    first = load(source, validation=0)
    assert (len(first.train), len(first.test), first.class_names) == (6, 6, ("cat", "dog"))
    assert server.calls["GET"] == 5
    load(source, validation=0)
    assert server.calls["GET"] == 5
    server.files["set/classes.txt"] = b"cow\ndog\n"
    assert load(source, validation=0).class_names == ("cow", "dog")
    assert server.calls["GET"] == 6


@pytest.mark.parametrize("wrong", ["cut", "short", "slow", "error"])
def test_what_goes_wrong_twice_is_tried_again(server, wrong, caplog):
    server.bad["set/train-001.tar"] = wrong, 2
    assert len(load(f"shards:{server.address}/set/train-{{000..001}}.tar", validation=0).train) == 6
    assert caplog.text.count("tried again") == 2


@pytest.mark.parametrize("wrong", ["cut", "short", "error"])
def test_what_goes_on_going_wrong_is_named_and_leaves_nothing(server, wrong, tmp_path):
    server.bad["set/train-001.tar"] = wrong, 100
    with pytest.raises(DataError, match=r"set/train-001.tar: could not be brought in 4 tries \(.+\)") as caught:
        load(f"shards:{server.address}/set/train-{{000..001}}.tar?signature=secret", validation=0)
    assert "secret" not in str(caught.value)
    assert [path.name for path in (tmp_path / "cache").rglob("train-001*")] == []


def test_a_server_that_went_away(server, caplog):
    source = f"shards:{server.address}/set/train-{{000..001}}.tar"
    load(source, validation=0)
    server.shutdown()
    server.server_close()
    assert len(load(source, validation=0).train) == 6
    assert "no answer" in caplog.text
    with pytest.raises(DataError, match=r"no answer .*, and not all copies are here"):
        load(source.replace("train", "test"), require_train=False)


def test_a_folder_that_can_be_listed(server):
    import fsspec  # type: ignore[import-untyped]

    memory = fsspec.filesystem("memory")
    for name, content in server.files.items():
        memory.pipe(f"/bucket/{name}", content)
    assert len(load("shards:memory://bucket/set", validation=0).test) == 6


@pytest.mark.parametrize(
    ("rest", "right"),
    [
        ("http://127.0.0.1:1/set", "a web server gives no list; name the files"),
        ("nowhere://host/train-0.tar", "'nowhere' is none of http, https, s3"),
        ("https://host/train-{000.tar", "braces without a partner"),
        ("reference://host/train-{0..1}.tar", "is none of http, https, s3"),
        ("memory://bucket/{a,../../b}.tar", "not below memory://bucket/"),
        ("https://host/train-{5..1}.tar", "is no range or list"),
        ("https://host/train-{0..9999999}.tar", "of at most 100,000 names"),
    ],
)
def test_what_no_address_is(rest, right):
    with pytest.raises(DataError) as caught:
        load(f"shards:{rest}")
    assert right in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_file_that_is_not_there_and_a_kind_that_takes_no_address(server):
    with pytest.raises(DataError, match=r"set/train-7.tar: there is no such file"):
        load(f"shards:{server.address}/set/train-7.tar")
    with pytest.raises(DataError, match=r"folder:.*an address; shards, parquet, npz take one"):
        load(f"folder:{server.address}/set")
