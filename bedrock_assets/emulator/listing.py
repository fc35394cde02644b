"""
ListModelInvocationJobs: filters, order, pages with opaque tokens, and a cache of rendered jobs.

Clients list all jobs again and again, and most of these have ended. So each version of a job is rendered as JSON once:
a page of 100 jobs then costs one query and one join of strings.
"""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b

from bedrock_assets.emulator.database import JobTable, JobVersion, Where
from bedrock_assets.emulator.exceptions import ValidationException
from bedrock_assets.emulator.jsontypes import JsonObject, dump, read_token, write_token
from bedrock_assets.emulator.wire import job_body

DEFAULT_PAGE = 100
"""Jobs in a page of List without `maxResults`; AWS documents none."""

MAX_CACHED = 20_000
"""Rendered summaries kept, about 1 kB each."""


class Listing:
    """Pages of jobs."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._rendered: dict[JobVersion, str] = {}

    def page(self, query: JsonObject, region: str) -> str:
        """
        The JSON body that answers a List request.

        Raises:
            ValidationException: The page token belongs to another query.
        """
        where = _filters(query, region)
        descending = query.get("sortOrder", "Descending") == "Descending"
        page_key = blake2b(dump([where.sql, list(where.values), descending]).encode(), digest_size=6).hexdigest()
        token, size = query.get("nextToken"), query.get("maxResults")
        if isinstance(token, str):
            where = where.also("seq < ?" if descending else "seq > ?", _first_seq(token, page_key))
        n_jobs = size if isinstance(size, int) else DEFAULT_PAGE
        versions = self._table.versions(where, descending=descending, limit=n_jobs + 1)
        has_more = len(versions) > n_jobs
        next_token = f',"nextToken":"{write_token([versions[n_jobs - 1].seq, page_key])}"' if has_more else ""
        return f'{{"invocationJobSummaries":[{",".join(self._summaries(versions[:n_jobs]))}]{next_token}}}'

    def _summaries(self, versions: Sequence[JobVersion]) -> list[str]:
        new = {version.seq: version for version in versions if version not in self._rendered}
        if new:
            if len(self._rendered) + len(new) > MAX_CACHED:
                self._rendered = {version: self._rendered[version] for version in versions if version.seq not in new}
            marks = ",".join("?" * len(new))
            for job in self._table.find(Where().also(f"seq IN ({marks})", *new)):
                self._rendered[new[job.seq]] = dump(job_body(job, "List"))
        return [self._rendered[version] for version in versions]


def _filters(query: JsonObject, region: str) -> Where:
    where = Where().also("region = ?", region)
    for name, sql in (("submitTimeAfter", "submit_time > ?"), ("submitTimeBefore", "submit_time < ?")):
        moment = query.get(name)
        if isinstance(moment, int | float):
            where = where.also(sql, moment)
    status, part = query.get("statusEquals"), query.get("nameContains")
    if isinstance(status, str):
        where = where.also("status = ?", status)
    return where.also("instr(name, ?) > 0", part) if isinstance(part, str) else where


def _first_seq(token: str, page_key: str) -> int:
    with suppress(ValueError):
        match read_token(token):
            case [int(seq), key] if key == page_key:
                return seq
            case _:
                pass
    raise ValidationException("The provided nextToken is invalid for this request.")
