"""
Draws packages as boxes on their floors, and imports between them as arrows, as SVG.

An arrow that is implied by others (a imports b, b imports c, and a imports c as well) is pale and runs behind the
boxes; the others are led around them. The place of each box follows from the arrows alone, so that the picture changes
only with them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from statistics import fmean

from tests.architecture.imports import Architecture, Arrow, reachable

WIDTH, MARGIN, TOP = 1100, 24, 74
FLOOR_HEIGHT, BOX_HEIGHT, LANE_WIDTH, GAP = 82, 42, 18, 16
SWEEPS = 24
BEND_WEIGHT = 8
FEW, MANY = 2, 8
"""Module imports up to which an arrow is thin, and from which it is thick."""
INK, PALE, RED = "#31475e", "#c3ced9", "#c62828"
STYLE = f"""
text {{ font-family: 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif; fill: #1d2b3a; }}
.title {{ font-size: 19px; font-weight: 600; }}
.note {{ font-size: 12px; fill: #5b6b7c; }}
.name {{ font-size: 14px; font-weight: 600; text-anchor: middle; }}
.size {{ font-size: 11px; fill: #5b6b7c; text-anchor: middle; }}
.box {{ fill: #ffffff; stroke: {INK}; stroke-width: 1.2; }}
.aside {{ stroke-dasharray: 5 4; }}
.arrow, .implied, .wrong {{ fill: none; }}
.arrow {{ stroke: {INK}; marker-end: url(#head); opacity: 0.85; }}
.implied {{ stroke: {PALE}; opacity: 0.4; }}
.wrong {{ stroke: {RED}; marker-end: url(#wrong); }}
"""

Path = list[tuple[float, float]]
"""Points that an arrow runs through."""


@dataclass
class _Node:
    """A box, or the bend of an arrow that passes a floor."""

    floor: int
    width: float
    x: float = 0.0
    above: list["_Node"] = field(default_factory=list)
    below: list["_Node"] = field(default_factory=list)


def draw(house: Architecture, *, sizes: bool = False) -> str:
    """
    The picture, 1,100 px wide, or wider where a floor has more boxes than that holds.

    Args:
        sizes: Whether boxes say how many files and lines they have; otherwise, how many packages use them.
    """
    floors = _floors(house)
    floor_of = {name: i for i, floor in enumerate(floors) for name in floor}
    wrong = {*house.backward, *(arrow for arrow in house.arrows if floor_of[arrow[0]] >= floor_of[arrow[1]])}
    direct = [arrow for arrow in _not_implied(house.arrows) if arrow not in wrong]
    boxes = {name: _Node(i, _box_width(name)) for name, i in floor_of.items()}
    paths, width = _layout(boxes, direct, len(floors))
    height = TOP + FLOOR_HEIGHT * len(floors) + MARGIN
    implied = [arrow for arrow in house.arrows if arrow not in wrong and arrow not in paths]
    size = f'viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f"<style>{STYLE}</style>",
        f"<defs>{_head('head', INK)}{_head('wrong', RED)}</defs>",
        f'<rect width="100%" height="{height}" fill="#ffffff"/>',
        *_heading(house),
        *(_band(i) for i in range(len(floors))),
        *(_line(_straight(boxes, arrow), "implied", house.arrows[arrow]) for arrow in implied),
        *(_line(path, "arrow", house.arrows[arrow]) for arrow, path in paths.items()),
        *(_line(_straight(boxes, arrow), "wrong", house.arrows[arrow]) for arrow in sorted(wrong)),
        *(_box(house, name, node, sizes=sizes) for name, node in boxes.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _floors(house: Architecture) -> list[list[str]]:
    """Names from top to bottom: the contract's floors, and beside them what it leaves out; or else by the arrows."""
    floors = [[name for name in floor.packages if name in house.files] for floor in house.floors]
    known = {name for floor in floors for name in floor}
    reached = reachable([*house.arrows, *((name, name) for name in house.files)])
    for name in sorted({*house.files} - known):
        users = [i for i, floor in enumerate(floors) for other in floor if (other, name) in house.arrows]
        if house.floors:
            floors[min(len(floors) - 1, max(users, default=-1) + 1)].append(name)
    if not house.floors:
        depth = {name: _depth(name, reached) for name in house.files}
        floors = [[name for name in sorted(depth) if depth[name] == n] for n in sorted({*depth.values()})]
    return [floor for floor in floors if floor]


def _depth(name: str, reached: Mapping[str, set[str]]) -> int:
    """Longest way from a name that nobody imports; members of a circle share it."""
    users = [other for other, names in reached.items() if name in names and other not in reached[name]]
    return 1 + max((_depth(other, reached) for other in users), default=-1)


def _not_implied(arrows: Iterable[Arrow]) -> list[Arrow]:
    """Arrows without another way from their start to their end."""
    names = sorted(arrows)
    reached = reachable(names)
    ways = {a: [b for start, b in names if start == a] for a, _ in names}
    return [(a, b) for a, b in names if not any(c != b and b in reached[c] and a not in reached[c] for c in ways[a])]


def _layout(
    boxes: Mapping[str, _Node], arrows: Sequence[Arrow], n_floors: int
) -> dict[Arrow, list[tuple[float, float]]]:
    """Give each box its place, and each arrow the points it runs through."""
    floors: list[list[_Node]] = [[] for _ in range(n_floors)]
    for node in boxes.values():
        floors[node.floor].append(node)
    chains: dict[Arrow, list[_Node]] = {}
    for a, b in arrows:
        bends = [_Node(floor, LANE_WIDTH) for floor in range(boxes[a].floor + 1, boxes[b].floor)]
        for bend in bends:
            floors[bend.floor].append(bend)
        chains[a, b] = [boxes[a], *bends, boxes[b]]
        for upper, lower in pairwise(chains[a, b]):
            upper.below.append(lower)
            lower.above.append(upper)
    width = max([WIDTH, *(sum(node.width + GAP for node in floor) + 2 * MARGIN for floor in floors)])
    _order(floors, width)
    _place(floors, width)
    return {arrow: _points(chain) for arrow, chain in chains.items()}, width


def _order(floors: list[list[_Node]], width: float) -> None:
    """Sort each floor so that few arrows cross."""
    for floor in floors:
        _spread(floor, [width * (i + 0.5) / len(floor) for i in range(len(floor))], width)
    best, fewest = [list(floor) for floor in floors], _n_crossings(floors)
    for sweep in range(SWEEPS):
        for floor in floors if sweep % 2 == 0 else reversed(floors):
            centers = {id(node): _center(node.above if sweep % 2 == 0 else node.below, node.x) for node in floor}
            floor.sort(key=lambda node: centers[id(node)])
            _spread(floor, [centers[id(node)] for node in floor], width)
        if (n_crossings := _n_crossings(floors)) < fewest:
            best, fewest = [list(floor) for floor in floors], n_crossings
    for floor, ordered in zip(floors, best, strict=True):
        floor[:] = ordered
        _spread(floor, [width * (i + 0.5) / len(floor) for i in range(len(floor))], width)


def _place(floors: list[list[_Node]], width: float) -> None:
    """Move nodes near what they are joined to, and then apart, over the whole width."""
    for _ in range(SWEEPS):
        for floor in (*floors, *reversed(floors)):
            _spread(floor, [_center([*node.above, *node.below], node.x) for node in floor], width)
    nodes = [node for floor in floors for node in floor]
    left, right = min(node.x - node.width / 2 for node in nodes), max(node.x + node.width / 2 for node in nodes)
    for node in nodes:
        node.x = width / 2 + (node.x - (left + right) / 2) * (width - 2 * MARGIN) / (right - left)
    for floor in floors:
        _spread(floor, [node.x for node in floor], width)


def _center(nodes: Sequence[_Node], otherwise: float) -> float:
    """Mean place of *nodes*; bends count more, so that an arrow past several floors is straight."""
    weights = [BEND_WEIGHT if node.width == LANE_WIDTH else 1 for node in nodes]
    return fmean((node.x for node in nodes), weights) if nodes else otherwise


def _n_crossings(floors: Sequence[Sequence[_Node]]) -> int:
    count = 0
    for floor in floors:
        position = {id(node): i for i, node in enumerate(floor)}
        ends = sorted((position[id(node)], other.x) for node in floor for other in node.below)
        count += sum(x > y for i, (a, x) in enumerate(ends) for b, y in ends[i + 1 :] if a != b)
    return count


def _spread(floor: Sequence[_Node], wanted: Sequence[float], width: float) -> None:
    """Put nodes, in their order, as near to *wanted* as their widths allow (least squares)."""
    steps = [0.0]
    for left, right in pairwise(floor):
        steps.append(steps[-1] + (left.width + right.width) / 2 + GAP)
    groups: list[list[float]] = []
    for x, step in zip(wanted, steps, strict=True):
        groups.append([x - step])
        while len(groups) > 1 and fmean(groups[-2]) > fmean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    starts = [fmean(group) for group in groups for _ in group]
    low = MARGIN + floor[0].width / 2
    high = width - MARGIN - steps[-1] - floor[-1].width / 2
    for node, start, step in zip(floor, starts, steps, strict=True):
        node.x = max(low, min(high, start)) + step


def _points(chain: Sequence[_Node]) -> Path:
    """From below the first box to above the last, upright beside the boxes that are passed."""
    first, *bends, last = chain
    points = [(_port(first, chain[1], first.below), _y(first) + BOX_HEIGHT / 2)]
    for bend in bends:
        points += [(bend.x, _y(bend) - BOX_HEIGHT / 2), (bend.x, _y(bend) + BOX_HEIGHT / 2)]
    return [*points, (_port(last, chain[-2], last.above), _y(last) - BOX_HEIGHT / 2 - 6)]


def _port(box: _Node, other: _Node, others: Sequence[_Node]) -> float:
    """Where on a box's edge the arrow from or to *other* stands."""
    ordered = sorted(others, key=lambda node: node.x)
    position = next(i for i, node in enumerate(ordered) if node is other)
    return box.x + (box.width - 24) * ((position + 1) / (len(ordered) + 1) - 0.5)


def _straight(boxes: Mapping[str, _Node], arrow: Arrow) -> Path:
    a, b = (boxes[name] for name in arrow)
    if a.floor == b.floor:
        return [(a.x, _y(a) + BOX_HEIGHT / 2), (b.x, _y(b) + BOX_HEIGHT / 2 + 6)]
    down = 1 if a.floor < b.floor else -1
    return [(a.x, _y(a) + down * BOX_HEIGHT / 2), (b.x, _y(b) - down * (BOX_HEIGHT / 2 + 6))]


def _y(node: _Node) -> float:
    return TOP + FLOOR_HEIGHT * (node.floor + 0.5)


def _line(points: Path, style: str, n_imports: int) -> str:
    (x, y), *others = points
    path = [f"M{x:.0f} {y:.0f}"]
    for a, b in others:
        middle = (y + b) / 2
        path.append(f"C{x:.0f} {middle:.0f} {a:.0f} {middle:.0f} {a:.0f} {b:.0f}" if a != x else f"L{a:.0f} {b:.0f}")
        x, y = a, b
    width = 1 if n_imports <= FEW else 1.8 if n_imports < MANY else 3
    return f'<path class="{style}" d="{" ".join(path)}" stroke-width="{width}"/>'


def _head(name: str, color: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="3" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="{color}"/></marker>'
    )


def _band(floor: int) -> str:
    y = TOP + FLOOR_HEIGHT * floor
    color = "#f4f7fa" if floor % 2 == 0 else "#ffffff"
    return f'<rect x="0" y="{y}" width="100%" height="{FLOOR_HEIGHT}" fill="{color}"/>'


def _box_width(name: str) -> float:
    return max(118.0, 26 + 8.6 * len(name))


def _box(house: Architecture, name: str, node: _Node, *, sizes: bool) -> str:
    n_users = sum(imported == name for _, imported in house.arrows)
    size = (
        f"{house.files[name]} files, {house.lines[name]:,} lines"
        if sizes
        else f"used by {n_users}"
        if n_users
        else "used by none"
    )
    aside = house.floors and not any(name in floor.packages for floor in house.floors)
    x, y = node.x, _y(node)
    return (
        f'<rect class="box{" aside" if aside else ""}" x="{x - node.width / 2:.0f}" y="{y - BOX_HEIGHT / 2:.0f}" '
        f'width="{node.width:.0f}" height="{BOX_HEIGHT}" rx="7"/>'
        f'<text class="name" x="{x:.0f}" y="{y - 2:.0f}">{escape(name)}</text>'
        f'<text class="size" x="{x:.0f}" y="{y + 13:.0f}">{size}</text>'
    )


def _heading(house: Architecture) -> list[str]:
    title = f"{house.package}: {len(house.files)} packages, {len(house.arrows)} arrows"
    note = "Arrows are imports: thick from many modules, pale where other arrows imply them, red where forbidden."
    if house.floors:
        note += " They point down only. Dashed: on no floor."
    return [
        f'<text class="title" x="{MARGIN}" y="32">{escape(title)}</text>',
        f'<text class="note" x="{MARGIN}" y="54">{note}</text>',
    ]
