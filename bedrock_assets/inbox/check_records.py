"""
Lines of an inbox file, checked and brought into the form in which records are sent.

A record has the same content as its line; only an id that is not short and plain is replaced by a hash of itself.
"""

import json
from dataclasses import dataclass, field
from typing import Any, cast

import polars as pl
from polars.exceptions import PolarsError

from bedrock_assets.errors import InvalidInboxFile
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.outputs.jsonlines import HEAD, decode, split_lines
from bedrock_assets.pipeline.ids import wire_id
from bedrock_assets.sources.json_lines import first_bad_line

_SCHEMA = {"recordId": pl.String(), "modelInput": pl.Struct({"-": pl.Boolean()})}
"""All that is read of a request is that it is an object."""


@dataclass
class Lines:
    """The lines of a file as they go through, checked."""

    inbox: Inbox
    n_lines: int = 0
    """Blank ones included, for messages."""
    ids: list[pl.Series] = field(default_factory=list)

    def read(self, chunk: bytes) -> pl.Series:
        """
        The records of whole lines, String, one each.

        Raises:
            InvalidInboxFile: A line is not a record; the message has its number.
        """
        lines = self._numbered(chunk)
        frame = _decoded(lines["line"])
        if frame is None:
            raise InvalidInboxFile(self._first_bad(lines))
        read = lines.hstack(frame)
        self._require_records(read)
        if not self.ids and len(read):
            self._require_family(read["line"][0])
        records = _canonical(read)
        self.ids.append(records["id"])
        return records["record"]

    def _numbered(self, chunk: bytes) -> pl.DataFrame:
        """`line` String and `number`, from 1, of the lines that are not blank."""
        try:
            lines = split_lines(chunk)
        except PolarsError as error:
            raise InvalidInboxFile(
                f"from line {self.n_lines + 1} on, it is not UTF-8 text (or it is compressed: unpack it)"
            ) from error
        lines = lines.with_row_index("number", self.n_lines + 1).filter(pl.col("line").str.strip_chars() != "")
        self.n_lines += chunk.count(b"\n") + (not chunk.endswith(b"\n"))
        return lines

    def _first_bad(self, lines: pl.DataFrame) -> str:
        """The first line that is not a JSON object."""
        texts = [line.encode() for line in lines["line"]]
        index = first_bad_line(texts, lambda content: decode(content, _SCHEMA) is not None)
        return f"line {lines['number'][index]} is not a JSON object: {_shown(lines['line'][index])}"

    def _require_records(self, read: pl.DataFrame) -> None:
        max_bytes = self.inbox.spec.limits.max_bytes_per_record
        faults = {
            "has no recordId; give each record its own": pl.col("recordId").fill_null("") == "",
            "has no modelInput, or one that is not an object": pl.col("modelInput").is_null(),
            f"has more than the {max_bytes} bytes that limits.max_bytes_per_record allows": pl.col(
                "line"
            ).str.len_bytes()
            > max_bytes,
        }
        for fault, condition in faults.items():
            faulty = read.filter(condition)
            if len(faulty):
                raise InvalidInboxFile(f"line {faulty['number'][0]} {fault}: {_shown(faulty['line'][0])}")

    def _require_family(self, line: str) -> None:
        fault = self.inbox.fault_of_request(json.loads(line)["modelInput"])
        if fault:
            raise InvalidInboxFile(f"line 1: {fault}")

    def all_ids(self) -> pl.Series:
        """
        Raises:
            InvalidInboxFile: There are no ids, repeated ids, or more than a job takes.
        """
        n_max, ids = self.inbox.spec.limits.max_records_per_job, pl.concat(self.ids) if self.ids else pl.Series()
        if ids.is_empty():
            raise InvalidInboxFile("it has no records")
        if len(ids) > n_max:
            raise InvalidInboxFile(f"it has {len(ids):,} records, above limits.max_records_per_job={n_max}; split it")
        twice = ids.filter(ids.is_duplicated())
        if len(twice):
            raise InvalidInboxFile(f"recordId {twice[0]!r} is in more than one line; each record needs its own")
        return ids


def _canonical(read: pl.DataFrame) -> pl.DataFrame:
    """`id` String, as the file has it, and `record` String, which begins with the id on the wire."""
    line = pl.col("line")
    usual = line.str.contains(HEAD) & (line.str.count_matches('"recordId"', literal=True) == 1)
    records = read.select("number", "line", id="recordId", rest=pl.when(usual).then(line.str.replace(HEAD, "")))
    odd = records.filter(pl.col("rest").is_null())
    if len(odd):
        parts = [_parts(number, text) for number, text in odd.select("number", "line").iter_rows()]
        rests = odd.select("number").with_columns(rest_of=pl.Series([rest for _, rest in parts], dtype=pl.String))
        records = records.join(rests, on="number", how="left", maintain_order="left")
        records = records.with_columns(rest=pl.coalesce("rest", "rest_of"))
    record = pl.concat_str(
        pl.lit('{"recordId":"'), wire_id(pl.col("id")), pl.lit('",'), pl.col("rest").str.strip_chars()
    )
    return records.select("id", record=record)


def _parts(number: int, line: str) -> tuple[str, str]:
    """The id of a line that does not begin with it, and the rest of the line after it."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            raise InvalidInboxFile(f"line {number} has a key twice in one object: {_shown(line)}")
        return members

    try:
        record = cast("dict[str, Any]", json.loads(line.lstrip("\ufeff"), object_pairs_hook=unique))
        record_id = record.pop("recordId")
        rest = json.dumps(record, allow_nan=False)
    except ValueError as error:
        raise InvalidInboxFile(f"line {number} is not JSON: {error}") from error
    if not isinstance(record_id, str):
        raise InvalidInboxFile(f"line {number} has a recordId that is not a string: {_shown(line)}")
    return record_id, rest[1:]


def _decoded(lines: pl.Series) -> pl.DataFrame | None:
    """One row a line, as `decode` has it, which splits the lines again and is asked only where one is odd."""
    try:
        return lines.to_frame("line").select(pl.col("line").str.json_decode(pl.Struct(_SCHEMA))).unnest("line")
    except PolarsError:
        return decode(str(lines.str.join("\n").item()).encode(), _SCHEMA)


def _shown(line: str) -> str:
    return ascii(line[:80])
