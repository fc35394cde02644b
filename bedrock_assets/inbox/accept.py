"""
A file in an inbox becomes a shard: checked line by line, and copied in the form that Bedrock reads.

The copy is sent, so that nothing that happens to the file afterwards matters.
"""

import secrets
from collections.abc import Callable

import polars as pl

from bedrock_assets.errors import InvalidInboxFile, StoreError
from bedrock_assets.inbox.check_records import Lines, to_rename
from bedrock_assets.inbox.files import SUFFIX, InboxFile, look
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.pipeline.ids import GIVEN_ID
from bedrock_assets.shards.format import fingerprint_of
from bedrock_assets.shards.record_file import RecordFile, padded
from bedrock_assets.storage.keys import shard_folder, shard_manifest_key
from bedrock_assets.storage.manifests import Shard, ShardManifest
from bedrock_assets.storage.store import Store


def accept_file(
    inbox: Inbox, store: Store, file: InboxFile, duplicate_of: Callable[[str], str | None] = lambda _: None
) -> ShardManifest:
    """
    Copy a dropped file's records, and write its shard's manifest, last.

    The file is read once; and once more if ids are absent or repeated, which is known at its end.

    Args:
        duplicate_of: Says where the records of a fingerprint are in progress or answered, None if nowhere.

    Raises:
        InvalidInboxFile: The file cannot be sent, or the same records are in progress or answered.
        StoreError: The file has changed since it was looked at, or the store cannot be read or written.
    """
    incoming = f"{shard_folder(inbox.spec.name, file.key)}/incoming-{secrets.token_hex(4)}{SUFFIX}"
    try:
        records, ids = _copy(inbox, store, file, incoming)
        manifest = _manifest(inbox, file, records, ids)
        _require_unchanged(inbox, store, file)
        _require_fit(inbox, manifest, duplicate_of(manifest.fingerprint))
    except (InvalidInboxFile, StoreError):
        store.delete([incoming])
        raise
    store.move(incoming, manifest.prompts)
    with store.writer(manifest.rows) as target:
        _rows(ids).write_parquet(target)
    store.write_model(shard_manifest_key(inbox.spec.name, file.key), manifest)
    return manifest


def _copy(inbox: Inbox, store: Store, file: InboxFile, incoming: str) -> tuple[RecordFile, pl.DataFrame]:
    """The records that were written, and their ids; see `Lines.all_ids`."""
    max_bytes = inbox.spec.limits.max_bytes_per_file
    if file.n_bytes > max_bytes:
        raise InvalidInboxFile(f"it has {file.n_bytes:,} bytes, above limits.max_bytes_per_file={max_bytes}; split it")
    records, ids = _copy_once(inbox, store, file, incoming, None)
    renamed = None
    while (renamed := to_rename(ids, renamed)) is not None:
        records, ids = _copy_once(inbox, store, file, incoming, renamed)
    return records, ids


def _copy_once(
    inbox: Inbox, store: Store, file: InboxFile, incoming: str, renamed: pl.Series | None
) -> tuple[RecordFile, pl.DataFrame]:
    spec, first, lines = inbox.spec, list[pl.Series](), Lines(inbox, renamed)
    with store.writer(incoming) as target:
        records = RecordFile(target)
        for chunk in store.chunks(f"{spec.dropped_to}/{file.name}"):
            chunk_records = lines.read(chunk)
            records.write(chunk_records)
            if sum(map(len, first)) < spec.limits.min_records_per_job:
                first.append(chunk_records)
        ids = lines.all_ids()
        n_wanted = spec.limits.min_records_per_job if spec.on_small == "pad" else 0
        while records.n_records < n_wanted:
            records.write(padded(pl.concat(first).head(n_wanted - records.n_records), records.n_records))
    records.n_padding = records.n_records - len(ids)
    return records, ids


def _require_unchanged(inbox: Inbox, store: Store, file: InboxFile) -> None:
    if look(store, inbox.spec.dropped_to, file.name) != file:
        raise StoreError("it has changed while it was read")


def _require_fit(inbox: Inbox, manifest: ShardManifest, duplicate: str | None) -> None:
    n_records, minimum = manifest.n_records, inbox.spec.limits.min_records_per_job
    if n_records < minimum and inbox.spec.on_small == "error":
        raise InvalidInboxFile(
            f"it has {n_records} records, but Bedrock fails a job with fewer than {minimum}; add some, or set "
            "`on_small: on_demand` to send few records one by one"
        )
    max_bytes = inbox.spec.limits.max_bytes_per_file
    if manifest.n_bytes > max_bytes:
        raise InvalidInboxFile(
            f"its records have {manifest.n_bytes:,} bytes, above limits.max_bytes_per_file={max_bytes}; split it"
        )
    if duplicate:
        raise InvalidInboxFile(f"it is a duplicate: the same records {duplicate}")


def _manifest(inbox: Inbox, file: InboxFile, records: RecordFile, ids: pl.DataFrame) -> ShardManifest:
    spec, sha256 = inbox.spec, records.digest.hexdigest() if records.digest else ""
    fingerprint = fingerprint_of(sha256, "", spec.model_identity, spec.model_invocation_type, "")
    stem = f"{shard_folder(spec.name, file.key)}/{fingerprint}"
    return ShardManifest(
        pipeline=spec.name,
        shard=Shard(key=file.key, offset=0, n_rows=len(ids)),
        raw_revision=file.revision,
        fingerprint=fingerprint,
        content=sha256[:32],
        prompts=f"{stem}{SUFFIX}",
        rest="",
        rows=f"{stem}.rows.parquet",
        n_records=records.n_records,
        n_rejected=0,
        n_padding=records.n_padding,
        n_reused=0,
        n_duplicates=0,
        n_bytes=records.n_bytes,
        sha256=sha256,
        model=spec.model,
        model_invocation_type=spec.model_invocation_type,
        parameters={},
        configuration=inbox.workload.configuration,
        prompt_id=None,
        prompt_sha256=None,
        folder=inbox.folder(file.key),
        n_renamed=int(ids["id"].ne_missing(ids[GIVEN_ID]).sum()),
    )


def _rows(ids: pl.DataFrame) -> pl.DataFrame:
    """
    The shard's rows, in the form that `shards.dedup` writes: each record is sent as it is.

    `given_id` is there only if it differs from the ids under which records are sent.
    """
    names = ("code", "message", "key", "elsewhere", "copy_of")
    rows = ids.select("id", *([] if ids["id"].equals(ids[GIVEN_ID]) else [GIVEN_ID])).rename({"id": "record_id"})
    return rows.with_columns(pl.lit(None, pl.String).alias(name) for name in names)
