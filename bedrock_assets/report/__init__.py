"""
One page about a pipeline's table, for people: what was answered, what it cost, and rows to read.

The page is one HTML file without scripts and without anything from elsewhere. It is made from the store alone.
"""

from bedrock_assets.report.facts import Report, report_of
from bedrock_assets.report.page import page_of

__all__ = ["Report", "page_of", "report_of"]
