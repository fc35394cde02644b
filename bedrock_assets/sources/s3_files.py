"""Which objects of a bucket an `s3://` URL, a pattern or a folder means, and their bytes."""

import re
from dataclasses import dataclass
from functools import cached_property
from glob import has_magic
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_assets.errors import ConfigError
from bedrock_assets.storage.credentials import open_session

_MARK = "s3://"
_TOKEN = re.compile(r"\*+|\?|\[(?P<not>!?)(?P<set>\]?[^\]]*)\]|.", re.DOTALL)
_SPECIAL = re.compile(r"[\\\[\]^&~|]")


@dataclass(frozen=True)
class S3Object:
    """An object of a bucket."""

    key: str
    name: str
    """Its key below the folders that the URL fixes."""
    n_bytes: int


@dataclass(frozen=True)
class S3Files:
    """
    Objects in the order of their keys; bucket, Region, endpoint and credentials are found as boto3 finds them.

    It needs `s3:ListBucket` for the bucket and `s3:GetObject` for the objects.
    """

    url: str
    """As written: an object, a pattern such as `s3://bucket/calls/**/*.txt`, or a folder."""
    what: str
    """The key that names it, for messages."""

    @cached_property
    def objects(self) -> list[S3Object]:
        """
        The objects; of a folder all below it, but those whose names, or whose folders' names, begin with `.` or `_`.

        Raises:
            ConfigError: There is none, or the bucket cannot be listed.
        """
        fixed = self._fixed
        found = self._listed(fixed)
        if not has_magic(self._pattern):
            own = [entry for entry in found if entry.key == self._pattern]
            inside = f"{self._pattern.rstrip('/')}/".lstrip("/")
            below = [entry for entry in found if entry.key.startswith(inside)]
            found = own or [_named(entry, inside) for entry in below if _is_visible(entry.key.removeprefix(inside))]
        else:
            matches = self._compiled().fullmatch
            found = [entry for entry in found if matches(entry.key)]
        if not found:
            raise ConfigError(f"{self.what} {self.url!r} matches no object of bucket {self._bucket!r}")
        return found

    def read(self, entry: S3Object) -> bytes:
        """
        The bytes of an object.

        Raises:
            ConfigError: It cannot be read, for example because it has been deleted meanwhile.
        """
        try:
            return self._client.get_object(Bucket=self._bucket, Key=entry.key)["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise ConfigError(f"{self.what}: s3://{self._bucket}/{entry.key} cannot be read: {error}") from error

    def _compiled(self) -> re.Pattern[str]:
        try:
            return re.compile(_as_regex(self._pattern))
        except re.error as error:
            raise ConfigError(f"{self.what} {self.url!r} is no pattern: {error}; correct what stands in [ ]") from error

    def _listed(self, prefix: str) -> list[S3Object]:
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            entries = [entry for page in pages for entry in page.get("Contents", ())]
        except (BotoCoreError, ClientError) as error:
            raise ConfigError(f"{self.what} {self.url!r}: the bucket cannot be listed: {error}") from error
        folder = prefix.rpartition("/")[0]
        named = [_named(S3Object(entry["Key"], "", entry["Size"]), f"{folder}/" if folder else "") for entry in entries]
        # Consoles make an empty object that ends in a slash for a folder.
        return sorted((entry for entry in named if not entry.key.endswith("/")), key=lambda entry: entry.key)

    @property
    def _bucket(self) -> str:
        return self.url.removeprefix(_MARK).partition("/")[0]

    @property
    def _pattern(self) -> str:
        return self.url.removeprefix(_MARK).partition("/")[2]

    @property
    def _fixed(self) -> str:
        """The folders before the first wildcard; without one the whole key."""
        if not has_magic(self._pattern):
            return self._pattern.rstrip("/")
        folders: list[str] = []
        for part in self._pattern.split("/"):
            if has_magic(part):
                break
            folders.append(part)
        return "".join(f"{folder}/" for folder in folders)

    @cached_property
    def _client(self) -> Any:
        try:
            return open_session().client("s3")
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(f"{self.what} {self.url!r}: {error}") from error


def _named(entry: S3Object, folder: str) -> S3Object:
    return S3Object(entry.key, entry.key.removeprefix(folder), entry.n_bytes)


def _is_visible(name: str) -> bool:
    return not any(part[:1] in (".", "_") for part in name.split("/"))


def _as_regex(pattern: str) -> str:
    """As `glob` reads it: wildcards stay within a folder and leave hidden names out; `**` is any number of folders."""
    *folders, last = pattern.split("/")
    own = "(?:(?!\\.)[^/]+/)*(?!\\.)[^/]+" if last == "**" else _name_regex(last)
    return "".join("(?:(?!\\.)[^/]+/)*" if part == "**" else _name_regex(part) + "/" for part in folders) + own


def _name_regex(name: str) -> str:
    found = "" if name[:1] not in ("*", "?", "[") else "(?!\\.)"
    for token in _TOKEN.finditer(name):
        if token["set"] is not None:
            found += f"(?!/)[{'^' if token['not'] else ''}{_SPECIAL.sub(_escaped, token['set'])}]"
        else:
            found += {"*": "[^/]*", "?": "[^/]"}.get(token[0][0], re.escape(token[0]))
    return found


def _escaped(special: re.Match[str]) -> str:
    return f"\\{special[0]}"
