"""Publish the table on the Hugging Face hub: one commit, complete or absent."""

from bedrock_assets.audit import Effect, announced
from bedrock_assets.errors import StoreError
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sinks.base import Sent
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store

FOLDER = "data"
SPLIT = "train"


def push_table(store: Store, pipeline: Pipeline, table: TableManifest) -> Sent:
    """
    Commit the table's parts as the split `train` of the dataset `hub:`, and remove those of an earlier table.

    A dataset that does not exist is created, private. Parts are uploaded one at a time: memory holds one part at most,
    and none if the store is a folder. The token is the hub's own setting, `HF_TOKEN` or `hf auth login`.

    Raises:
        StoreError: The hub rejects the dataset or is not reachable. Readers see no change.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api, name = HfApi(), pipeline.spec.hub or ""
    try:
        api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
        current = [path for path in api.list_repo_files(name, repo_type="dataset") if path.startswith(f"{FOLDER}/")]
        added: dict[str, CommitOperationAdd] = {}
        for index, part in enumerate(table.parts):
            path = f"{FOLDER}/{SPLIT}-{index:05d}-of-{len(table.parts):05d}.parquet"
            content = store.path(part.key) if store.is_local else store.get(part.key)
            added[path] = CommitOperationAdd(path, content)
            api.preupload_lfs_files(name, [added[path]], repo_type="dataset")
        removed = [CommitOperationDelete(path) for path in current if path not in added]
        with announced(Effect.WRITE, name):
            message = f"{table.n_rows:,} rows, revision {table.revision}"
            commit = api.create_commit(name, [*added.values(), *removed], commit_message=message, repo_type="dataset")
    except Exception as error:  # the client raises errors of its HTTP library as well as its own
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StoreError(f"the Hugging Face hub rejected dataset {name!r}: {first_line}; check HF_TOKEN") from error
    url = f"{api.endpoint}/datasets/{name}"
    return Sent(url, table.n_rows, table.n_rows, more={"url": url, "commit": commit.oid})
