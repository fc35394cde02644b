"""What loading the code location costs: each run is a process that pays it."""

import subprocess
import sys

HEAVY = ("datasets", "duckdb", "numpy", "pandas", "pyarrow", "starlette", "torch", "transformers", "uvicorn")

LOAD = f"""
import sys
from bedrock_assets import definitions

assert len(list(definitions.defs().resolve_all_asset_specs())) > 3
print(",".join(name for name in {HEAVY!r} if name in sys.modules))
"""


def test_the_code_location_loads_without_heavy_packages() -> None:
    """Definitions, assets, sensors and checks load without pandas, torch, datasets and their like."""
    told = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout.strip()) == (0, ""), told.stderr
