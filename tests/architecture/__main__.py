"""`python -m tests.architecture`: counts the imports of `bedrock_assets`, and draws them."""

import argparse
import json
from pathlib import Path

from tests.architecture.drawing import draw
from tests.architecture.imports import Architecture, read_architecture

HERE = Path(__file__).parents[2]


def main() -> None:
    """Print the report, or write the picture."""
    parser = argparse.ArgumentParser(prog="python -m tests.architecture", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw packages and arrows into FILE")
    parser.add_argument("--sizes", action="store_true", help="with --svg: files and lines of each package")
    parser.add_argument(
        "--package-root", type=Path, default=HERE, metavar="PATH", help="folder that bedrock_assets lies in"
    )
    options = parser.parse_args()
    if not (options.package_root / "bedrock_assets").is_dir():
        parser.error(f"{options.package_root} has no folder bedrock_assets; --package-root is the folder it lies in")
    house = read_architecture(options.package_root.resolve())
    if options.svg:
        options.svg.write_text(draw(house, sizes=options.sizes))
    elif options.json:
        print(json.dumps(house.summary(), indent=2))
    else:
        print("\n".join(report(house)))


def report(house: Architecture) -> list[str]:
    """The report, line by line."""
    summary = house.summary()
    lines = [
        f"{summary['n_modules']} modules in {summary['n_packages']} packages, {summary['n_lines']:,} lines of Python",
        f"{summary['n_module_arrows']} import arrows between modules, {summary['n_package_arrows']} between packages",
    ]
    for kind in ("module", "package"):
        circles = summary[f"{kind}_circles"]
        lines.append(f"{len(circles)} circles of {kind}s")
        for circle in circles:
            lines += [f"  {', '.join(circle[f'{kind}s'])}", *(f"    {one}" for one in circle["imports"])]
    if not house.floors:
        return [*lines, "no contract"]
    lines.append(f"{len(summary['backward'])} arrows against the contract")
    for arrow in summary["backward"]:
        lines += [f"  {arrow['importer']} -> {arrow['imported']}", *(f"    {one}" for one in arrow["imports"])]
    return lines


if __name__ == "__main__":
    main()
