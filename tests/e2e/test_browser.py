"""The main job as a person does it, in a real browser on the UI that `bedrock-assets dev` serves."""

import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.lab import Lab, lab

PIPELINE = "conversation_summaries"
CHROMIUM = shutil.which("chromium")
SHOTS = os.environ.get("SCREENSHOTS")
"""Folder for screenshots, e.g. `bedrock_assets/docs`; none are taken without it."""
PATIENCE_MS = 180_000
"""For whatever is waited for: on a busy machine the UI draws a page long after it was asked for."""
expect.set_options(timeout=PATIENCE_MS)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[Lab]:
    """A local stack."""
    with lab(tmp_path_factory.mktemp("browser"), speed=120) as made:
        yield made


@pytest.fixture
def page() -> Generator[Page]:
    """A tab."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1400, "height": 800})
        tab.set_default_timeout(PATIENCE_MS)
        yield tab
        browser.close()


def shoot(page: Page, name: str, left: int = 0, top: int = 0, height: int = 800) -> None:
    """A screenshot for the README, if asked for, of what is right of and below a point."""
    if SHOTS:
        page.wait_for_timeout(2500)  # until fonts, icons and plots are drawn
        clip: Any = {"x": left, "y": top, "width": 1400 - left, "height": height}
        page.screenshot(path=Path(SHOTS) / f"{name}.png", clip=clip)


def asset(site: Lab, name: str, view: str = "overview") -> str:
    """Address of an asset's page."""
    return f"{site.ui.url}/assets/{PIPELINE}/{name}?view={view}"


def group(site: Lab, view: str) -> str:
    """Address of the pipeline's page."""
    return f"{site.ui.url}/locations/bedrock_assets/asset-groups/{PIPELINE}/{view}"


def test_the_main_job_by_clicks(site: Lab, page: Page) -> None:
    """Materialize the dataset, launch the backfill, see partitions go green, open the plots and the checks."""
    page.goto(asset(site, "raw_dataset"))
    page.locator("button", has_text="Materialize").first.click()
    site.until(lambda: site.materialized(PIPELINE, "raw_dataset") == 1)

    page.goto(group(site, "list"))
    for name in ("prompt_shards", "batch_outputs", "joined_table"):
        page.get_by_test_id(f"checkbox-{PIPELINE}/{name}").dispatch_event("click")
    page.locator("button", has_text="Materialize selected (3)").click()
    page.get_by_role("button", name="All", exact=True).click()
    shoot(page, "backfill", left=340, top=80, height=600)
    page.get_by_role("button", name="Launch backfill").click()

    site.until(lambda: site.materialized(PIPELINE, "batch_outputs") == 4)
    page.goto(asset(site, "batch_outputs", "partitions"))
    for state in ("Materialized (4)", "Failed (0)", "Missing (0)"):
        expect(page.get_by_text(state)).to_be_visible()

    page.goto(asset(site, "batch_outputs"))
    page.get_by_role("button", name="Plots").click()
    for plotted in ("cost_usd", "records_per_min", "queue_s", "run_s", "tokens_per_record"):
        expect(page.get_by_text(plotted, exact=True).first).to_be_attached()
    assert page.locator("canvas").count() > 0
    page.get_by_text("cost_usd", exact=True).first.scroll_into_view_if_needed()
    shoot(page, "plots", left=240, top=420, height=380)

    site.until(lambda: site.materialized(PIPELINE, "joined_table") == 1)
    page.goto(asset(site, "joined_table", "checks"))
    for check in ("every_row_has_one_outcome", "columns", "error_share", "length_of_answers"):
        expect(page.get_by_text(check, exact=True).first).to_be_visible()
    page.goto(group(site, "lineage"))
    expect(page.get_by_text("4 / 4 Passed")).to_be_visible()
    shoot(page, "asset-graph", left=240, top=300, height=320)


def test_the_launchpad_documents_its_settings(site: Lab, page: Page) -> None:
    """A launch's settings stand in the Launchpad with their meaning and defaults."""
    found: Any = site.ui.query(
        """query($selector: PipelineSelector!) { runConfigSchemaOrError(selector: $selector) {
        ... on RunConfigSchema { allConfigTypes { ... on CompositeConfigType { fields { name description
        defaultValueAsJson } } } } } }""",
        selector={
            "pipelineName": "__ASSET_JOB",
            "repositoryName": "__repository__",
            "repositoryLocationName": "bedrock_assets",
            "assetSelection": [{"path": [PIPELINE, "batch_outputs"]}],
        },
    )["runConfigSchemaOrError"]
    fields = {field["name"]: field for kind in found["allConfigTypes"] for field in kind.get("fields", ())}
    for name, default in (("wait", "true"), ("poll_s", "15.0"), ("retry_errors", "false")):
        assert fields[name]["description"]
        assert fields[name]["defaultValueAsJson"] == default
