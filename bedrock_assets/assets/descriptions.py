"""Descriptions of the assets: what a person must know before a launch, a cancellation or another launch."""

from bedrock_assets.config.workload import WorkloadSpec

PROMPT_SHARDS = """\
Each shard's prompts as the JSONL file that Bedrock reads, within every quota.

- **Launch** it for all partitions when `raw_dataset` was made again, or the prompt, the model or its parameters were \
edited. It costs nothing.
- Rows that are answered already are not sent again. `fresh: true` in the launch's config sends, and **pays for**, \
every row again.
- **Do not add a partition**: `raw_dataset` plans them, one per shard."""


def about_raw(spec: WorkloadSpec) -> str:
    """Description of `raw_dataset`."""
    own = f"{spec.description}\n\n" if spec.description else ""
    return (
        f"{own}The input as Parquet, with a record id on every row.\n\n"
        "**Launch** it first, and again when the input has changed: it plans the shards, which are the partitions of "
        "`prompt_shards` and `batch_outputs`. It costs nothing."
    )


def about_answers(spec: WorkloadSpec, upstream: str) -> str:
    """
    Description of `batch_outputs`.

    Args:
        upstream: Name of the asset that makes the shards.
    """
    pools = " and ".join(f"`{pool}`" for pool in spec.pools)
    running = "stops its jobs; answers that have arrived are kept" if spec.on_cancel == "stop" else "leaves its jobs"
    planner = "`raw_dataset` plans them" if upstream == "prompt_shards" else f"`{upstream}` adds one for each file"
    return f"""\
The model's answers, one row for each input row. **A launch sends prompts to Bedrock, which are paid for.**

- **Launch**: the run asks for its partitions, waits for them and logs the progress. The sensor `bedrock_jobs_sensor` \
creates at most as many jobs at a time as the limit of pool {pools}, and launches a run that collects \
each job's answers.
- **Slots**: how many are taken, and the job's page, stand in the event of each partition whose job was created. The \
pool's own page shows its limit, but no jobs.
- **Cancel** the run to give up: it withdraws what has no job yet, and {running}.
- **Launch again** a partition that failed: only rows without an answer are sent. An answered one is read again and \
not paid again; `retry_errors: true` in the launch's config sends its rows with errors once more.
- **Do not add a partition**: {planner}."""


def about_table(spec: WorkloadSpec) -> str:
    """Description of `joined_table`."""
    return f"""\
The final table: every input column unchanged, then the answer.

It is built by itself when the last shard is answered. To open it:

```python
from bedrock_assets import scan_table
rows = scan_table("{spec.name}").collect()
```"""
