"""Which local files a path, a pattern or a folder means, and the partition columns in their folders' names."""

import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import glob, has_magic
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from bedrock_assets.errors import ConfigError

SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")
_KINDS = {
    stat.S_ISFIFO: "a FIFO",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISDIR: "a folder",
}
_NULL = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")


@dataclass(frozen=True)
class LocalFiles:
    """Regular files of one format, in the order of their names."""

    path: str
    """As written: a file, a pattern, or a folder."""

    @cached_property
    def suffix(self) -> str:
        """
        The format.

        Raises:
            ConfigError: It is none that is known, or a folder has files of several, or of none.
        """
        if not self.path or not Path(self.path).is_dir():
            return require_suffix(self.path)
        suffixes = sorted({file.suffix.lower() for file in self._below(self.path)})
        if len(suffixes) == 1:
            return suffixes[0]
        found = f"has files of several formats: {', '.join(suffixes)}" if suffixes else "has no data files"
        raise ConfigError(f"source path {self.path!r} is a folder that {found}; name a pattern, such as *.parquet")

    @cached_property
    def names(self) -> list[str]:
        """
        The files.

        Raises:
            ConfigError: There is none, or one is not a regular file, so that reading it might never end; or as `found`.
        """
        return _required(self.found, self.path, "source path")

    @cached_property
    def found(self) -> list[str]:
        """
        What the path matches, maybe nothing.

        Raises:
            ConfigError: The pattern begins at the root of the file system; or as `suffix`.
        """
        if Path(self.path).is_dir():
            return sorted(str(file) for file in self._below(self.path) if file.suffix.lower() == self.suffix)
        return _matches(self.path, "source path")

    @cached_property
    def partitions(self) -> dict[str, list[str | int | None]]:
        """By column, the values of all files, from folders such as `year=2026` that the path does not name itself."""
        fixed = Path(self.path) if Path(self.path).is_dir() else fixed_part(self.path)
        pairs = [_pairs(Path(name).relative_to(fixed).parent.parts) for name in self.names]
        keys = list(dict.fromkeys(key for values in pairs for key in values))
        return {key: _typed([values.get(key, _NULL) for values in pairs]) for key in keys}

    def partition_columns(self, index: int, columns: Iterable[str]) -> list[pl.Expr]:
        """The partition columns of one file, Int64 or String, without those that are among its own *columns*."""
        own = set(columns)
        return [
            pl.lit(values[index], _dtype(values)).alias(key)
            for key, values in self.partitions.items()
            if key not in own
        ]

    @staticmethod
    def _below(folder: str) -> list[Path]:
        return [path for path in _visible_files(folder) if path.suffix.lower() in SUFFIXES]


def matching_files(pattern: str, what: str) -> list[str]:
    """
    Regular files in the order of their names: one, those that match a pattern, or all below a folder but hidden ones.

    Args:
        what: The key that names them, for messages.

    Raises:
        ConfigError: There is none, one is not a regular file, or the pattern begins at the root of the file system.
    """
    is_folder = Path(pattern).is_dir()
    found = sorted(map(str, _visible_files(pattern))) if is_folder else _matches(pattern, what)
    return _required(found, pattern, what)


def _visible_files(folder: str) -> list[Path]:
    files = (path for path in Path(folder).rglob("*") if not path.is_dir())
    return [path for path in files if not any(part[0] in "._" for part in path.relative_to(folder).parts)]


def _matches(pattern: str, what: str) -> list[str]:
    path = Path(pattern)
    if path.exists() or not has_magic(pattern):
        return [pattern] if path.exists() else []
    if pattern.startswith("/**"):
        raise ConfigError(f"{what} {pattern!r} searches the whole file system; name a folder")
    folder = fixed_part(pattern)
    inside = glob(str(path.relative_to(folder)), root_dir=folder, recursive=True)  # noqa: PTH207 - as polars reads it
    return [str(folder / name) for name in sorted(inside) if not (folder / name).is_dir()]


def _required(found: list[str], pattern: str, what: str) -> list[str]:
    if not found:
        start = "its defs.yaml" if Path(pattern).is_absolute() else Path.cwd()
        raise ConfigError(f"{what} {pattern!r} matches no file; a relative path starts at {start}")
    for name in found:
        _require_regular(name, what)
    return found


def require_suffix(path: str) -> str:
    """
    The suffix of a path or pattern, in lower case.

    Raises:
        ConfigError: It is not the suffix of a format that is read.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        problem = f"ends in {suffix}" if suffix else "has no suffix"
        raise ConfigError(
            f"source path {path!r} {problem}; known: {', '.join(SUFFIXES)}. For whole files as rows, such as texts, "
            "write `files` in place of `path`"
        )
    return suffix


def _require_regular(name: str, what: str) -> None:
    mode = Path(name).stat().st_mode
    if not stat.S_ISREG(mode):
        kind = next((kind for test, kind in _KINDS.items() if test(mode)), "something else")
        raise ConfigError(f"{what} {name!r} is not a file but {kind}; name a file")


def fixed_part(pattern: str) -> Path:
    """The folders of a pattern before its first wildcard; of a file its folder. A folder may be called `a [1]`."""
    fixed = Path()
    for part in Path(pattern).parts[:-1]:
        if has_magic(part) and not (fixed / part).is_dir():
            break
        fixed /= part
    return fixed


def _pairs(folders: Sequence[str]) -> Mapping[str, str]:
    return {key: unquote(value) for key, equals, value in (name.partition("=") for name in folders) if equals and key}


def _typed(values: Sequence[str]) -> list[str | int | None]:
    known = [None if value == _NULL else value for value in values]
    if all(value is None or _WHOLE.fullmatch(value) for value in known):
        return [None if value is None else int(value) for value in known]
    return list(known)


def _dtype(values: Sequence[str | int | None]) -> type[pl.DataType]:
    return pl.String if any(isinstance(value, str) for value in values) else pl.Int64
