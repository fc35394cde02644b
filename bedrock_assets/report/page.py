"""The report as HTML: a template whose values are all escaped, without scripts."""

from importlib.resources import files
from typing import TYPE_CHECKING

from bedrock_assets.prices import usd

if TYPE_CHECKING:
    from bedrock_assets.report.facts import Report

TEMPLATE = "page.html"
UNKNOWN = "unknown"
MAX_CONFUSED = 12
"""Labels of a table of confusion; more do not fit on a page."""


def page_of(report: "Report") -> str:
    """The page: one HTML document, which needs nothing from elsewhere."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"count": _count, "usd": _usd, "percent": _percent}
    template = environment.from_string(files("bedrock_assets.report").joinpath(TEMPLATE).read_text("utf-8"))
    return template.render(report=report, spec=report.pipeline.spec, table=report.table, max_confused=MAX_CONFUSED)


def _count(n: int | None) -> str:
    return UNKNOWN if n is None else f"{n:,}"


def _usd(value: float | None) -> str:
    return UNKNOWN if value is None else usd(value)


def _percent(share: float) -> str:
    """`12 %`; what is there is never shown as none, nor what is not all as all."""
    if 0 < share < 0.01:  # noqa: PLR2004 - one percent
        return "< 1 %"
    return "> 99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")  # noqa: PLR2004
