"""The status page: jobs, their statuses and counts, and what was answered on demand."""

from html import escape
from urllib.parse import quote

from bedrock_assets.emulator.backend import Backend
from bedrock_assets.emulator.database import Where
from bedrock_assets.emulator.models import IN_FLIGHT, Job
from bedrock_assets.emulator.tables import Invocations
from bedrock_assets.emulator.wire import timestamp

N_JOBS = 200
"""Jobs shown, newest first."""

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<title>Bedrock batch inference emulator</title>
<style>
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem; color: #1b1f24; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #d8dee4; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
small { color: #57606a }
.Completed { color: #1a7f37 } .InProgress, .Validating, .Scheduled { color: #0969da }
tr:target { background: #8b949e33 }
.Failed, .Expired { color: #cf222e } .PartiallyCompleted, .Stopped, .Stopping { color: #9a6700 }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117 } th, td { border-color: #30363d } }
</style></head><body>
<h1>Bedrock batch inference emulator</h1>
"""


def render(backend: Backend, invocations: list[Invocations]) -> str:
    """The page as HTML."""
    tally = backend.table.tally(Where(), "status")
    in_flight = sum(n for status, n in tally.items() if status in IN_FLIGHT)
    jobs = backend.table.find(Where(), descending=True, limit=N_JOBS)
    states = ", ".join(f'{n} <span class="{escape(s)}">{escape(s)}</span>' for s, n in sorted(tally.items()))
    clock = backend.clock
    time = f"clock stepped, at {timestamp(clock.now())}" if clock.stepped else f"clock at {clock.speed:g}x"
    summary = (
        f"<p>{sum(tally.values())} jobs, {in_flight} in flight (quota {backend.limits.max_jobs} per model, "
        f"{'queue' if backend.queue else 'refuse'}); {time}. {states}</p>"
    )
    names = ("Job", "Model", "Status", "Total", "Processed", "Success", "Error", "Submitted")
    header = "".join(f"<th{_numeric(name)}>{name}</th>" for name in names)
    rows = "\n".join(map(_row, jobs)) or '<tr><td colspan="8">No job has been created yet.</td></tr>'
    summary += "".join(map(_on_demand, invocations))
    return f"{_HEAD}{summary}<table><thead><tr>{header}</tr></thead><tbody>\n{rows}\n</tbody></table></body></html>\n"


def _row(job: Job) -> str:
    counts = job.counts
    link = f'<a href="/model-invocation-job/{quote(job.arn, safe="")}">{escape(job.job_id)}</a>'
    numbers = "".join(
        f'<td class="n">{n:,}</td>' for n in (counts.total, counts.processed, counts.success, counts.error)
    )
    message = f"<br><small>{escape(job.message)}</small>" if job.message else ""
    return (
        f'<tr id="{escape(job.job_id)}"><td>{escape(job.name)}<br><small>{link}</small></td>'
        f"<td>{escape(job.model_id)}</td>"
        f'<td><span class="{job.status}">{job.status}</span>{message}</td>{numbers}'
        f"<td>{timestamp(job.submit_time)}</td></tr>"
    )


def _on_demand(row: Invocations) -> str:
    return (
        f"<p>On demand: {row.answered:,} {escape(row.operation)} of {escape(row.model_id)} answered, "
        f"{row.distinct:,} distinct</p>"
    )


def _numeric(name: str) -> str:
    return ' class="n"' if name in ("Total", "Processed", "Success", "Error") else ""
