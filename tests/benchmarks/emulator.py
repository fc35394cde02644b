"""
The emulator as a process of its own: calls a second, and records a second with the memory they need.

Calls come from a client as light as it can be, four connections of `http.client` in this process, so that what is
measured is the server; client and server share the machine. Jobs wait for less than a second, so records a second are
those of the machine. Memory is the server's peak, as Linux keeps it.
"""

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
TITAN_EMBED = "amazon.titan-embed-text-v2:0"
N_CONNECTIONS = 4
CALLS_S = 3.0
"""Seconds that each kind of call is repeated."""

N_IN_FLIGHT = 20
ACTIVE_STATUSES = ("Submitted", "Validating", "Scheduled", "InProgress")
TEXT = "the customer called about an invoice that arrived late and asked to have the fee waived"


@dataclass(frozen=True)
class Server:
    """A running emulator."""

    url: str
    pid: int
    bucket: Path

    @property
    def peak_mb(self) -> float:
        """Largest resident memory since it started."""
        for line in Path(f"/proc/{self.pid}/status").read_text().split("\n"):
            if line.startswith("VmHWM"):
                return round(int(line.split()[1]) / 1024, 1)
        raise RuntimeError("this system does not tell a process's peak memory")


def measure(job_counts: Iterable[int], n_records: int) -> dict[str, Any]:
    """Calls a second at each number of jobs and beside a job, then a text and an embedding job of *n_records*."""
    found: dict[str, Any] = {"calls": {str(n_jobs): calls(n_jobs) for n_jobs in job_counts}}
    found["calls while a job runs"] = calls_while_busy(n_records)
    found["jobs"] = {"text": job("text", n_records), "embedding": job("embedding", n_records)}
    return found


def calls(n_jobs: int) -> dict[str, float]:
    """Calls a second with *n_jobs* jobs, of which at most twenty are in flight."""
    with server("--stepped", "--max-jobs", "100000", "--min-records", "1") as emulator:
        arns = [create(emulator, f"job-{i}", CLAUDE, "none") for i in range(max(0, n_jobs - N_IN_FLIGHT))]
        post(emulator, "/admin/clock", {"advance_s": 1000})  # there is no such input: they end as Failed
        arns += [create(emulator, f"in-flight-{i}", CLAUDE, "none") for i in range(min(N_IN_FLIGHT, n_jobs))]
        paths = [f"/model-invocation-job/{quote(arn, safe='')}" for arn in arns]
        return {
            "Get": rate(emulator, paths),
            "List, 100 a page": rate(emulator, ["/model-invocation-jobs"]),
            "List, in flight": rate(emulator, ["/model-invocation-jobs?statusEquals=Submitted"]),
            "List, all in pages of 1,000": rate(emulator, ["/model-invocation-jobs?maxResults=1000"]),
            "server_peak_mb": emulator.peak_mb,
        }


def calls_while_busy(n_records: int) -> dict[str, float]:
    """Calls a second while the server writes the output of an embedding job."""
    with server("--speed", "1000", "--max-records", str(max(n_records, 100))) as emulator:
        write_input(emulator.bucket / "in.jsonl", "embedding", n_records)
        arn = create(emulator, "a-job", TITAN_EMBED, "in.jsonl")
        path = f"/model-invocation-job/{quote(arn, safe='')}"
        while get(emulator, path)["status"] != "InProgress":
            time.sleep(0.01)
        return {"Get": rate(emulator, [path], while_told=b'"InProgress"')}


def rate(emulator: Server, paths: list[str], while_told: bytes = b"") -> float:
    """
    Calls a second over four connections that ask for *paths* in turn.

    They end with the first answer without *while_told*: on a fast machine a job may end before the time does.
    """
    counts = [0] * N_CONNECTIONS
    end = time.perf_counter() + CALLS_S

    def workload(number: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(emulator.url).netloc, timeout=60)
        while time.perf_counter() < end:
            connection.request("GET", paths[(counts[number] * N_CONNECTIONS + number) % len(paths)])
            response = connection.getresponse()
            body = response.read()
            if response.status != http.HTTPStatus.OK:
                raise RuntimeError(f"{response.status}: {body[:200]!r}")
            if while_told not in body:
                break
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=workload, args=(number,)) for number in range(N_CONNECTIONS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(sum(counts) / (time.perf_counter() - start))


def job(kind: str, n_records: int) -> dict[str, float]:
    """One job from its creation to its end, at a speed that makes its waits less than a second."""
    with server("--speed", "1000", "--max-records", str(max(n_records, 100))) as emulator:
        write_input(emulator.bucket / "in.jsonl", kind, n_records)
        base_mb = emulator.peak_mb
        start = time.perf_counter()
        arn = create(emulator, "a-job", TITAN_EMBED if kind == "embedding" else CLAUDE, "in.jsonl")
        while (found := get(emulator, f"/model-invocation-job/{quote(arn, safe='')}"))["status"] in ACTIVE_STATUSES:
            time.sleep(0.05)
        if found["status"] != "Completed":
            raise RuntimeError(f"the job ended {found['status']}: {found.get('message')}")
        seconds = time.perf_counter() - start
        output = next(emulator.bucket.glob("out/*/in.jsonl.out"))
        return {
            "records": n_records,
            "seconds": round(seconds, 1),
            "records_per_s": round(n_records / seconds),
            "output_mb": round(output.stat().st_size / 1e6, 1),
            "server_idle_mb": base_mb,
            "server_peak_mb": emulator.peak_mb,
        }


def write_input(path: Path, kind: str, n_records: int) -> None:
    """Records whose texts differ."""
    words = TEXT.split(" ")
    with path.open("w") as file:
        for i in range(n_records):
            text = " ".join(words[(i * 7 + k * k) % len(words)] for k in range(60)) + f" {i}"
            content = [{"role": "user", "content": [{"type": "text", "text": f"Summarise this call.\n\n{text}"}]}]
            body: dict[str, Any] = {"inputText": text, "dimensions": 1024, "normalize": True}
            if kind == "text":
                body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 256, "messages": content}
            file.write(json.dumps({"recordId": f"R{i:09d}", "modelInput": body}) + "\n")


@contextmanager
def server(*options: str) -> Generator[Server]:
    """`bedrock-assets emulate` with an empty bucket."""
    with tempfile.TemporaryDirectory() as folder:
        bucket = Path(folder) / "buckets" / "data-bucket"
        bucket.mkdir(parents=True)
        command = [
            str(Path(sys.executable).with_name("bedrock-assets")),
            "emulate",
            "--port",
            "0",
            "--json",
        ]
        regions = ["--any-model", "--store", str(bucket.parent), "--db", str(Path(folder) / "jobs.sqlite")]
        with subprocess.Popen([*command, *regions, *options], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield Server(json.loads(process.stdout.readline())["endpoint_url"], process.pid, bucket)
            finally:
                process.terminate()


def create(emulator: Server, name: str, model_id: str, key: str) -> str:
    """Create a job; its ARN."""
    request = {
        "jobName": name,
        "roleArn": "arn:aws:iam::123456789012:role/batch",
        "timeoutDurationInHours": 168,
        "modelId": model_id,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"s3://data-bucket/{key}"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://data-bucket/out/"}},
    }
    return post(emulator, "/model-invocation-job", request)["jobArn"]


def get(emulator: Server, path: str) -> dict[str, Any]:
    """A call without a body."""
    return _call(emulator, "GET", path, None)


def post(emulator: Server, path: str, body: object) -> dict[str, Any]:
    """A call with a JSON body."""
    return _call(emulator, "POST", path, json.dumps(body))


def _call(emulator: Server, method: str, path: str, body: str | None) -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(emulator.url).netloc, timeout=120)
    connection.request(method, path, body)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{method} {path}: {response.status} {answer}")
    return answer
