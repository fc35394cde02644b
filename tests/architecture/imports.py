"""Reads the imports of a package, and says where they run in a circle or against the contract."""

import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import grimp

Arrow = tuple[str, str]
"""Importer, imported."""


@dataclass(frozen=True)
class Floor:
    """One line of the contract: packages that may import those of later lines only."""

    packages: tuple[str, ...]
    independent: bool
    """Whether packages of this line may not import each other either."""


@dataclass(frozen=True)
class Architecture:
    """The imports of one package. A room is a module or package at its top level."""

    package: str
    imports: Mapping[Arrow, tuple[int, ...]]
    """Module arrows, each with the lines of the importer that make it."""
    files: Mapping[str, int]
    """Number of files in each room."""
    lines: Mapping[str, int]
    """Lines of Python in each room."""
    n_modules: int
    floors: tuple[Floor, ...]
    """From top to bottom; empty without a contract."""

    @cached_property
    def arrows(self) -> Counter[Arrow]:
        """Number of module arrows between each two rooms."""
        pairs = ((self.room(importer), self.room(imported)) for importer, imported in self.imports)
        return Counter(sorted((a, b) for a, b in pairs if a != b and a in self.files and b in self.files))

    @cached_property
    def module_circles(self) -> list[list[str]]:
        """Modules that import each other, directly or not."""
        return circles(self.imports)

    @cached_property
    def room_circles(self) -> list[list[str]]:
        """Rooms that import each other, directly or not."""
        return circles(self.arrows)

    @cached_property
    def backward(self) -> list[Arrow]:
        """Arrows between rooms that the contract forbids: up, or to a sibling."""
        floor_of = {name: i for i, floor in enumerate(self.floors) for name in floor.packages}
        rooms = [(a, b, floor_of[a], floor_of[b]) for a, b in self.arrows if a in floor_of and b in floor_of]
        return [(a, b) for a, b, i, j in rooms if j < i or (i == j and self.floors[i].independent)]

    def room(self, module: str) -> str:
        """The room of a module; empty for the package's own `__init__`."""
        return module.removeprefix(self.package).lstrip(".").partition(".")[0]

    def imports_between(self, rooms: Iterable[str]) -> list[str]:
        """The imports that cross from one of *rooms* to another, as `importer -> imported (line 1, 2)`."""
        members = set(rooms)
        crossing = [
            arrow for arrow in self.imports if {*map(self.room, arrow)} <= members and len({*map(self.room, arrow)}) > 1
        ]
        return self.described(crossing)

    def described(self, arrows: Iterable[Arrow]) -> list[str]:
        """Module arrows with their lines."""
        return [f"{a} -> {b} (line {', '.join(map(str, self.imports[a, b]))})" for a, b in sorted(arrows)]

    def summary(self) -> dict[str, Any]:
        """All that can be said in numbers and names, for JSON."""
        within = [{arrow for arrow in self.imports if {*arrow} <= {*circle}} for circle in self.module_circles]
        return {
            "n_modules": self.n_modules,
            "n_packages": len(self.files),
            "n_lines": sum(self.lines.values()),
            "n_module_arrows": len(self.imports),
            "n_package_arrows": len(self.arrows),
            "module_circles": [
                {"modules": circle, "imports": self.described(arrows)}
                for circle, arrows in zip(self.module_circles, within, strict=True)
            ],
            "package_circles": [
                {"packages": circle, "imports": self.imports_between(circle)} for circle in self.room_circles
            ],
            "backward": [
                {"importer": a, "imported": b, "imports": self.described(self._made_by(a, b))} for a, b in self.backward
            ],
            "floors": [asdict(floor) for floor in self.floors],
        }

    def _made_by(self, importer: str, imported: str) -> list[Arrow]:
        return [(a, b) for a, b in self.imports if (self.room(a), self.room(b)) == (importer, imported)]


def read_architecture(root: Path, package: str = "bedrock_assets") -> Architecture:
    """
    Read the imports of *package* under *root*, and the contract of the `pyproject.toml` beside it, if there is one.

    Files are parsed, not run. One process can read one package of a name.
    """
    sys.path.insert(0, str(root))
    try:
        graph = grimp.build_graph(package, cache_dir=None)
    finally:
        sys.path.remove(str(root))
    imports = {
        (importer, imported): tuple(
            sorted({one["line_number"] for one in graph.get_import_details(importer=importer, imported=imported)})
        )
        for importer in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(importer))
    }
    rooms = sorted(name.rpartition(".")[2] for name in graph.find_children(package))
    sources = {room: _sources(root / package, room) for room in rooms}
    return Architecture(
        package=package,
        imports=imports,
        files={room: len(paths) for room, paths in sources.items()},
        lines={room: sum(len(path.read_text().splitlines()) for path in paths) for room, paths in sources.items()},
        n_modules=len(graph.modules),
        floors=read_floors(root / "pyproject.toml", package),
    )


def read_floors(pyproject: Path, package: str) -> tuple[Floor, ...]:
    """The lines of the largest contract of type `layers` that has *package* as its container."""
    if not pyproject.exists():
        return ()
    settings = tomllib.loads(pyproject.read_text()).get("tool", {}).get("importlinter", {})
    layers = [one["layers"] for one in settings.get("contracts", []) if one.get("containers") == [package]]
    return tuple(_floor(line) for line in max(layers, key=len, default=[]))


def circles(arrows: Iterable[Arrow]) -> list[list[str]]:
    """Groups of more than one name in which each leads to each other."""
    reached = reachable(arrows)
    groups = {tuple(sorted(other for other in names if name in reached[other])) for name, names in reached.items()}
    return sorted([*group] for group in groups if len(group) > 1)


def reachable(arrows: Iterable[Arrow]) -> dict[str, set[str]]:
    """For each name, all names that arrows lead to."""
    following: dict[str, set[str]] = {}
    for a, b in arrows:
        following.setdefault(a, set()).add(b)
        following.setdefault(b, set())
    reached: dict[str, set[str]] = {}
    for start in following:
        names, todo = set[str](), [start]
        while todo:
            new = following[todo.pop()] - names
            names |= new
            todo += new
        reached[start] = names
    return reached


def _floor(line: str) -> Floor:
    names = line.replace(":", "|").split("|")
    return Floor(tuple(name.strip(" ()") for name in names), independent=":" not in line)


def _sources(folder: Path, room: str) -> list[Path]:
    return sorted((folder / room).rglob("*.py")) if (folder / room).is_dir() else [folder / f"{room}.py"]
