"""A Hub on loopback: the few endpoints that huggingface_hub asks to fetch, and to upload."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
MODEL = re.compile(
    r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>branch|preupload|commit)/(?P<revision>[^/?]+)"
)

Files = dict[str, bytes]


@dataclass
class Hub:
    """Commits by repository and branch, and who asked for what with what token.

    A commit is known by the digest of its files. `may_write` is the token that uploads need.
    """

    may_write: str = "hunter2"
    repos: dict[str, dict[str, Files]] = field(default_factory=dict)
    commits: dict[str, Files] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    def environment(self, home: Path, **ours: str) -> dict[str, str]:
        """The environment of a process whose Hub this is."""
        outside = {name: text for name, text in os.environ.items() if not name.startswith("HF_")}
        return {
            **outside,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": self.may_write,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            **ours,
        }

    def commit(self, repo: str, files: Files, branch: str = "main") -> str:
        """Put files on a branch; the commit."""
        of_repo = self.repos.setdefault(repo, {})
        of_repo[branch] = {**of_repo.get(branch, {}), **files}
        text = [f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in files.items()]
        oid = hashlib.sha1("\n".join([repo, branch, *text]).encode()).hexdigest()
        self.commits[oid] = of_repo[branch]
        return oid

    def at(self, repo: str, revision: str) -> tuple[str, Files] | None:
        """The commit that a revision of a repository means, and its files."""
        branches = self.repos.get(repo)
        files = None if branches is None else branches.get(revision, self.commits.get(revision))
        return next(((oid, each) for oid, each in self.commits.items() if each is files), None)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the Hub does."""

    hub: Hub

    def do_HEAD(self) -> None:
        self._note()
        match = RESOLVE.fullmatch(self.path)
        found = match and self.hub.at(match["repo"], unquote(match["revision"]))
        if not match or not found:
            missing = match is None or match["repo"] not in self.hub.repos
            self._send(
                404, b"", {"X-Error-Code": "RepoNotFound" if missing else "RevisionNotFound"}
            )
            return
        oid, files = found
        data = files.get(match["name"])
        if data is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": oid})
        else:
            digest = hashlib.sha256(data).hexdigest()
            self._send(200, data, {"ETag": f'"{digest}"', "X-Repo-Commit": oid})

    do_GET = do_HEAD  # noqa: N815 - the base's name

    def do_POST(self) -> None:
        self._note()
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.headers["Authorization"] != f"Bearer {self.hub.may_write}":
            self._send(401, b"{}", {"X-Error-Message": "you may not write here"})
            return
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            status = 409 if repo in self.hub.repos else 200
            self.hub.repos.setdefault(repo, {})
            self._json({"url": f"{self.hub.url}/{repo}"}, status)
        elif self.path == "/api/validate-yaml":  # of a model card, before it is uploaded
            assert json.loads(body)["content"].startswith("---\n")
            self._json({"errors": [], "warnings": []})
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [self._wanted(row) for row in json.loads(body)["objects"]]
            self._json({"transfer": "basic", "objects": objects})
        elif match := MODEL.match(self.path):
            self._json(self._on_model(match, body))
        else:
            self._send(404, b"", {})

    def do_PUT(self) -> None:
        self._note()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        digest = hashlib.sha256(data).hexdigest()
        assert digest == self.path.rpartition("/")[2]
        self.hub.objects[digest] = data
        self._send(200, b"", {})

    def _wanted(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["oid"] in self.hub.objects:
            return row
        href = f"{self.hub.url}/lfs/{row['oid']}"
        return {**row, "actions": {"upload": {"href": href, "header": {}}}}

    def _on_model(self, match: re.Match[str], body: bytes) -> dict[str, Any]:
        repo, revision = match["repo"], match["revision"]
        if match["what"] == "branch":
            main = self.hub.repos[repo].get("main", {})
            self.hub.repos[repo].setdefault(revision, dict(main))
            return {}
        if match["what"] == "preupload":
            rows = [
                {
                    "path": row["path"],
                    "uploadMode": "lfs" if row["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for row in json.loads(body)["files"]
            ]
            return {"files": rows}
        files = {}
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        request = "refs/pr/1" if "create_pr" in self.path else None
        oid = self.hub.commit(repo, files, request or revision)
        return {
            "commitUrl": f"{self.hub.url}/{repo}/commit/{oid}",
            "commitOid": oid,
            "pullRequestUrl": f"{self.hub.url}/{repo}/discussions/1" if request else None,
        }

    def _note(self) -> None:
        self.hub.asked.append((self.command, self.path, self.headers["Authorization"]))

    def _json(self, document: dict[str, Any], status: int = 200) -> None:
        self._send(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, text in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def serving() -> Iterator[Hub]:
    """A Hub without repositories, while the context lasts."""
    hub = Hub()
    handler = type("Own", (Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub.url = f"http://127.0.0.1:{server.server_port}"
        yield hub
        server.shutdown()
