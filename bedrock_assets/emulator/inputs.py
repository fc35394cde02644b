"""A job's input: its files and records, and what `Validating` refuses."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass

import obstore
from obstore.exceptions import BaseError

from bedrock_assets.emulator.jsontypes import JsonObject, parse
from bedrock_assets.emulator.storage import Buckets, Location, StorageError, list_objects, locate
from bedrock_assets.limits import GB, JobLimits

MAX_JOB_BYTES = 5 * GB
"""All files of one job (Service Quotas, 2025)."""

CHUNK_BYTES = 4 * 1024 * 1024
"""Bytes read from the store at a time."""


class JobFailedError(Exception):
    """Ends a job as Failed; the text is the job's `message`."""


@dataclass(frozen=True)
class InputFile:
    """One JSONL file of a job."""

    location: Location
    n_bytes: int

    @property
    def name(self) -> str:
        """The file's name without its folders."""
        return self.location.key.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Record:
    """One line of an input file."""

    record_id: str
    model_input: JsonObject


def input_files(buckets: Buckets, uri: str) -> list[InputFile]:
    """
    The files that an s3Uri names: the file itself, or all JSONL files under it, by name.

    Raises:
        JobFailedError: There is no file, its name does not end in `.jsonl`, or the bucket cannot be read.
    """
    location = locate(uri)
    try:
        store = buckets.store(location.bucket)
        if location.key and not uri.endswith("/"):
            with suppress(FileNotFoundError):
                return [_single(location, obstore.head(store, location.key)["size"])]
        files = [InputFile(Location(location.bucket, path), size) for path, size in list_objects(store, location.key)]
    except (BaseError, StorageError, OSError):
        raise JobFailedError(
            f"Could not validate GetObject permissions to access S3 bucket: {location.bucket}. "
            "Check that the bucket exists and that the role may read it."
        ) from None
    files = sorted((file for file in files if file.name.endswith(".jsonl")), key=lambda file: file.location.key)
    if not files:
        raise JobFailedError(
            f"Could not validate ListBucket permissions for S3URI {uri}: no JSONL file is found there."
        )
    return files


def _single(location: Location, n_bytes: int) -> InputFile:
    if not location.key.endswith(".jsonl"):
        raise JobFailedError(f"The input file {location.uri} is not a JSONL file: its name must end in .jsonl")
    return InputFile(location, n_bytes)


def read_lines(buckets: Buckets, file: InputFile) -> Iterator[list[bytes]]:
    """The file's lines without blank ones, some megabytes at a time. Only `\\n` ends a line."""
    rest = b""
    stream = obstore.get(buckets.store(file.location.bucket), file.location.key).stream(min_chunk_size=CHUNK_BYTES)
    for chunk in stream:
        *lines, rest = (rest + bytes(chunk)).split(b"\n")
        yield [line for line in lines if line.strip()]
    if rest.strip():
        yield [rest]


def parse_record(line: bytes, number: int) -> Record:
    """
    Read one line. A missing recordId is made from *number*, counted from 0 in the file.

    Raises:
        ValueError: The line is not a record; the text says why.
    """
    match parse(line):
        case {"recordId": str(record_id), "modelInput": dict(model_input)}:
            return Record(record_id or f"REC{number:08d}", model_input)
        case {"recordId": record_id} if record_id is not None:
            raise ValueError("recordId is not a string, or modelInput is not a JSON object")
        case {"modelInput": dict(model_input)}:
            return Record(f"REC{number:08d}", model_input)
        case _:
            raise ValueError("it is not a JSON object with a modelInput that is one")


def validate(buckets: Buckets, uri: str, limits: JobLimits) -> Generator[None, None, int]:
    """
    Read the whole input as `Validating` does, one chunk a step.

    Returns:
        Records in all files.

    Raises:
        JobFailedError: A file, a line or a count breaks a rule.
    """
    files = input_files(buckets, uri)
    _check_sizes(files, limits)
    total = 0
    for file in files:
        n_records = 0
        for lines in read_lines(buckets, file):
            for n_records, line in enumerate(lines, n_records + 1):  # noqa: B020 - goes on counting
                _check_line(line, n_records, file)
            yield
        total += n_records
        _check_maximum(max(n_records, total), limits)
    if total < limits.min_records_per_job:
        raise JobFailedError(
            f"Batch job contains less records ({total}) than the required minimum of: {limits.min_records_per_job}"
        )
    return total


def _check_sizes(files: list[InputFile], limits: JobLimits) -> None:
    for file in files:
        if file.n_bytes > limits.max_bytes_per_file:
            raise JobFailedError(
                f"Input file {file.location.uri} has {file.n_bytes} bytes, more than the allowed maximum of: "
                f"{limits.max_bytes_per_file}"
            )
    n_bytes = sum(file.n_bytes for file in files)
    if n_bytes > MAX_JOB_BYTES:
        raise JobFailedError(f"Batch job has {n_bytes} bytes, more than the allowed maximum of: {MAX_JOB_BYTES}")


def _check_line(line: bytes, number: int, file: InputFile) -> None:
    try:
        parse_record(line, number)
    except ValueError as error:
        raise JobFailedError(
            f"Input file {file.location.uri} has a malformed record at line {number}: {error}"
        ) from None


def _check_maximum(n_records: int, limits: JobLimits) -> None:
    if n_records > limits.max_records_per_job:
        raise JobFailedError(
            f"Batch job contains more records ({n_records}) than the allowed maximum of: {limits.max_records_per_job}"
        )
