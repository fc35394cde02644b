"""
Lines of an inbox file, checked and brought into the form in which records are sent.

A record has the same content as its line; only an id that is not short and plain is replaced by a hash of itself. An id
that is absent, or that several lines have, is replaced by one of ours, as Bedrock takes such files, and answers them.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import polars as pl
from polars.exceptions import PolarsError

from bedrock_assets.columns import fields
from bedrock_assets.errors import InvalidInboxFile, StoreError
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.outputs.jsonlines import HEAD, Schema, decode, split_lines
from bedrock_assets.pipeline.ids import GIVEN_ID, derived_id, sha256, wire_id
from bedrock_assets.sources.json_lines import first_bad_line

_SCHEMA: Schema = {"recordId": pl.String(), "modelInput": pl.Struct({"-": pl.Boolean()})}
"""All that is read of a request is that it is an object; but see `Lines.schema`."""
_OPEN = r"^\s*\{"


@dataclass
class Lines:
    """The lines of a file as they go through, checked."""

    inbox: Inbox
    renamed: pl.Series | None = None
    """Which records, Boolean, get ids of ours, as an earlier pass over the file has found; None: no record."""
    n_lines: int = 0
    """Blank ones included, for messages."""
    ids: list[pl.DataFrame] = field(default_factory=list)
    """`id`, under which a record is sent, and `given_id`, which the file has; both String, null where it has none."""

    @cached_property
    def schema(self) -> Schema:
        """What is read of a record: its id, and its texts where a model takes several and we have one row for them."""
        texts = self.inbox.texts_key
        request = pl.Struct({texts: pl.List(pl.String)}) if texts else _SCHEMA["modelInput"]
        return {**_SCHEMA, "modelInput": request}

    def _texts(self) -> pl.Expr:
        (texts,) = fields(pl.col("modelInput"), cast("pl.Struct", self.schema["modelInput"])).values()
        return texts

    def read(self, chunk: bytes) -> pl.Series:
        """
        The records of whole lines, String, one each.

        Raises:
            InvalidInboxFile: A line is not a record; the message has its number.
        """
        lines = self._numbered(chunk)
        frame = _decoded(lines["line"], self.schema)
        if frame is None:
            raise InvalidInboxFile(self._first_bad(lines))
        read = lines.hstack(frame)
        self._require_records(read)
        if not self.ids and len(read):
            self._require_family(read["line"][0])
        records = self._named(_canonical(read))
        self.ids.append(records.select("id", GIVEN_ID))
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
            "has no modelInput, or one that is not an object": pl.col("modelInput").is_null(),
            f"has more than the {max_bytes} bytes that limits.max_bytes_per_record allows": pl.col(
                "line"
            ).str.len_bytes()
            > max_bytes,
        }
        if texts := self.inbox.texts_key:
            many = self._texts().list.len() > 1
            faults[f"has several {texts}, and a record has one row for its vector; write a line for each"] = many
        for fault, condition in faults.items():
            faulty = read.filter(condition)
            if len(faulty):
                raise InvalidInboxFile(f"line {faulty['number'][0]} {fault}: {_shown(faulty['line'][0])}")

    def _require_family(self, line: str) -> None:
        fault = self.inbox.fault_of_request(json.loads(line)["modelInput"])
        if fault:
            raise InvalidInboxFile(f"line 1: {fault}")

    def _named(self, records: pl.DataFrame) -> pl.DataFrame:
        """
        Add `id` to `given_id` and `rest`, and `record`, which begins with the id on the wire.

        Raises:
            StoreError: The file has more records than in the earlier pass.
        """
        if self.renamed is None:
            named = records.with_columns(id=GIVEN_ID)
        else:
            position = sum(map(len, self.ids))
            renamed = self.renamed.slice(position, len(records))
            if len(renamed) < len(records):
                raise StoreError("it has changed while it was read")
            own = derived_id(position, sha256(pl.col("rest")))
            named = records.with_columns(id=pl.when(renamed).then(own).otherwise(GIVEN_ID))
        head = pl.lit('{"recordId":"'), wire_id(pl.col("id").fill_null("")), pl.lit('",')
        return named.with_columns(record=pl.concat_str(*head, "rest"))

    def all_ids(self) -> pl.DataFrame:
        """
        `id` and `given_id` of all records; see `to_rename`.

        Raises:
            InvalidInboxFile: There are no records, or more than a job takes.
        """
        n_max, n_records = self.inbox.spec.limits.max_records_per_job, sum(map(len, self.ids))
        if not n_records:
            raise InvalidInboxFile("it has no records")
        if n_records > n_max:
            raise InvalidInboxFile(f"it has {n_records:,} records, above limits.max_records_per_job={n_max}; split it")
        return pl.concat(self.ids)


def to_rename(ids: pl.DataFrame, renamed: pl.Series | None) -> pl.Series | None:
    """
    Which records, Boolean, need an id of ours, because theirs is absent or repeated; None if each has one of its own.

    Args:
        ids: `id` String, of all records.
        renamed: Those that have one of ours; they keep it, and a record that has the same by chance gets another.
    """
    faulty = ids["id"].is_null() | ids["id"].is_duplicated()
    if not faulty.any():
        return None
    return faulty if renamed is None else faulty | renamed


def _canonical(read: pl.DataFrame) -> pl.DataFrame:
    """`given_id` String, as the file has it, null for none, and `rest` String: what follows the id and its comma."""
    line, given = pl.col("line"), pl.col("recordId").replace("", None)
    n_named = line.str.count_matches('"recordId"', literal=True)
    usual = line.str.contains(HEAD) & (n_named == 1)
    # An escaped letter may be one of the key's.
    nameless = line.str.contains(_OPEN) & (n_named == 0) & ~line.str.contains(r"\u00", literal=True) & given.is_null()
    rest = pl.when(usual).then(line.str.replace(HEAD, "")).when(nameless).then(line.str.replace(_OPEN, ""))
    records = read.select("number", "line", given.alias(GIVEN_ID), rest=rest)
    odd = records.filter(pl.col("rest").is_null())
    if len(odd):
        parts = [_rest(number, text) for number, text in odd.select("number", "line").iter_rows()]
        rests = odd.select("number").with_columns(rest_of=pl.Series(parts, dtype=pl.String))
        records = records.join(rests, on="number", how="left", maintain_order="left")
        records = records.with_columns(rest=pl.coalesce("rest", "rest_of"))
    return records.select(GIVEN_ID, pl.col("rest").str.strip_chars())


def _rest(number: int, line: str) -> str:
    """The rest of a line without its id, which is not the first key."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            raise InvalidInboxFile(f"line {number} has a key twice in one object: {_shown(line)}")
        return members

    try:
        record = cast("dict[str, Any]", json.loads(line.lstrip("\ufeff"), object_pairs_hook=unique))
        record_id = record.pop("recordId", None)
        rest = json.dumps(record, allow_nan=False)
    except ValueError as error:
        raise InvalidInboxFile(f"line {number} is not JSON: {error}") from error
    if not isinstance(record_id, str | None):
        raise InvalidInboxFile(f"line {number} has a recordId that is not a string: {_shown(line)}")
    return rest[1:]


def _decoded(lines: pl.Series, schema: Schema) -> pl.DataFrame | None:
    """One row a line, as `decode` has it, which splits the lines again and is asked only where one is odd."""
    try:
        return lines.to_frame("line").select(pl.col("line").str.json_decode(pl.Struct(schema))).unnest("line")
    except PolarsError:
        return decode(str(lines.str.join("\n").item()).encode(), schema)


def _shown(line: str) -> str:
    return ascii(line[:80])
