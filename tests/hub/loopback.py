"""A hub on this machine that speaks the few calls that pushing and fetching a model need."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_of_a_test"


class Server(ThreadingHTTPServer):
    """`repositories`: name -> {path: bytes}; `calls`: what was asked for; `private`: names."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Hub)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.calls: list[tuple[str, str]] = []
        self.private: set[str] = set()


class Hub(BaseHTTPRequestHandler):
    """What the hub answers."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        sent = self.rfile.read(size) if size else self.chunks()
        self.server.calls.append(("POST", self.path))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid user token."})
        if self.path == "/api/repos/create":
            wanted = json.loads(sent)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.server.repositories.setdefault(name, {})
            self.server.private |= {name} if wanted.get("private") or wanted.get("visibility") == "private" else set()
            return self.answer(200, {"url": self.url(name), "name": name, "id": "1"})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", self.path):
            files = json.loads(sent)["files"]
            return self.answer(200, {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                                               for file in files]})  # fmt: skip
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
            held = self.server.repositories[match[1]]
            for line in sent.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    held[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            url = f"{self.url(match[1])}/commit/{COMMIT}"
            return self.answer(200, {"success": True, "commitOid": COMMIT, "commitUrl": url})
        return self.answer(404, {"error": f"unknown {self.path}"})

    def chunks(self):
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def do_GET(self):
        self.server.calls.append((self.command, self.path))
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if match is None or match[1] not in self.server.repositories:
            return self.answer(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})
        if match[2] not in ("main", COMMIT):
            return self.answer(404, {"error": "Revision not found"}, **{"X-Error-Code": "RevisionNotFound"})
        content = self.server.repositories[match[1]].get(match[3])
        if content is None:
            return self.answer(404, {"error": "Entry not found"}, **{"X-Error-Code": "EntryNotFound"})
        return self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', **{"X-Repo-Commit": COMMIT})

    do_HEAD = do_GET

    def url(self, name):
        return f"http://127.0.0.1:{self.server.server_port}/{name}"


@contextmanager
def hub():
    """The server and its address."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
