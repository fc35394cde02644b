"""
Bytes and documents: one store for a local folder or S3, the documents that stages leave in it, and their keys.

Other packages read and write through `Store`.
"""

from bedrock_assets.storage.manifests import Document, InferenceMode, RawManifest, Shard, ShardManifest, TableManifest
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.publication import Publication
from bedrock_assets.storage.publish_lock import PublishLock
from bedrock_assets.storage.store import Store, StoredFile

__all__ = [
    "Document",
    "InferenceMode",
    "Publication",
    "PublishLock",
    "RawManifest",
    "Shard",
    "ShardManifest",
    "Store",
    "StoredFile",
    "TableManifest",
    "write_frames",
]
