"""The table on the hub, by the hub's own client, which talks to a small server on loopback."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse

import polars as pl
import pytest

from bedrock_assets.errors import StoreError
from bedrock_assets.sinks.hub import push_table
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.stages import MakePipeline, Stages, texts

NAME = "acme/calls"


@dataclass
class Hub:
    """What the server has."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    private: bool | None = None
    refuses: bool = False

    def commit(self, lines: list[dict[str, Any]]) -> None:
        """Apply the operations of a commit."""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.commits.append(value["summary"])
            elif line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del self.files[value["path"]]


class Handler(BaseHTTPRequestHandler):
    """The four calls that a commit takes; every file is taken as a regular one."""

    hub: Hub

    def do_GET(self) -> None:
        """What there is."""
        siblings = [{"rfilename": path} for path in self.hub.files]
        tree = [{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in self.hub.files.items()]
        self.answer(tree if "/tree/" in self.path else {"id": NAME, "sha": "1" * 40, "siblings": siblings})

    def do_POST(self) -> None:
        """Make a dataset, ask how files are to be sent, and commit."""
        path, body = urlparse(self.path).path, self.rfile.read(int(self.headers["Content-Length"]))
        page = f"{self.hub.url}/datasets/{NAME}"
        if self.hub.refuses:
            self.answer({"error": "no write access"}, 403)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            self.hub.private = asked.get("private", asked.get("visibility") == "private")
            self.answer({"url": page})
        elif "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            self.answer({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        else:
            self.hub.commit([json.loads(line) for line in body.splitlines() if line.strip()])
            self.answer({"commitUrl": f"{page}/commit/1", "commitOid": "2" * 40})

    def answer(self, body: object, status: int = 200) -> None:
        """JSON."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Be quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server, which the hub's client takes for the hub."""
    found = Hub()
    handler = type("HubHandler", (Handler,), {"hub": found})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for module in ("huggingface_hub.constants", "huggingface_hub.hf_api"):
            monkeypatch.setattr(f"{module}.ENDPOINT", found.url, raising=False)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield found
        server.shutdown()


def built(make_pipeline: MakePipeline, store: Store, n_rows: int) -> tuple[Stages, TableManifest]:
    """An answered table."""
    limits = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 1}
    stages = Stages.of(make_pipeline(texts(n_rows), id_column="id", limits=limits, hub=NAME), store)
    stages.answer_all()
    return stages, join_table(store, stages.pipeline, stages.raw)


def test_a_commit_has_the_whole_table(make_pipeline: MakePipeline, store: Store, hub: Hub) -> None:
    """Parts as the split `train` of a private dataset; a smaller table takes the others away, and nothing else."""
    hub.files["README.md"] = b"mine"
    stages, table = built(make_pipeline, store, 10)
    pushed = push_table(store, stages.pipeline, table)
    assert (pushed.more["url"], pushed.n_rows, hub.private) == (f"{hub.url}/datasets/{NAME}", 10, True)
    names = sorted(set(hub.files) - {"README.md"})
    assert names == [f"data/train-{i:05d}-of-00003.parquet" for i in range(3)]
    rows = pl.concat(pl.read_parquet(hub.files[name]) for name in names)
    assert rows["id"].to_list() == [f"c{i}" for i in range(10)]

    stages, table = built(make_pipeline, store, 4)
    push_table(store, stages.pipeline, table)
    assert sorted(hub.files) == ["README.md", "data/train-00000-of-00001.parquet"]
    assert [re.sub(r"\w{16}$", "#", commit) for commit in hub.commits] == ["10 rows, revision #", "4 rows, revision #"]


def test_a_hub_that_refuses(make_pipeline: MakePipeline, store: Store, hub: Hub) -> None:
    """Its reason is told, and the setting to look at; nothing was committed."""
    hub.refuses = True
    stages, table = built(make_pipeline, store, 4)
    with pytest.raises(StoreError, match=r"dataset 'acme/calls': .*check HF_TOKEN"):
        push_table(store, stages.pipeline, table)
    assert (hub.files, hub.commits) == ({}, [])
