"""A local stack does not reach AWS, whatever the shell or the project's `.env` say."""

import json
from pathlib import Path

import pytest

from bedrock_assets.cli.common import session
from bedrock_assets.errors import ConfigError
from bedrock_assets.local.stack import AWS_ONLY, SETTINGS, Settings, environment, local_stack
from bedrock_assets.pipeline.project import find_project
from bedrock_assets.resources.environment import bedrock_resource


@pytest.mark.parametrize("line", ["BEDROCK_ASSETS_STORE=s3://paid/batch", " export AWS_PROFILE = prod", "AWS_REGION=x"])
def test_a_dotenv_for_aws(tmp_path: Path, line: str) -> None:
    """Dagster would read it, and its values win; so nothing starts beside one."""
    (tmp_path / "dg.toml").write_text('directory_type = "project"\n[project]\nroot_module = "shop"\n')
    (tmp_path / "shop/defs").mkdir(parents=True)
    (tmp_path / ".env").write_text(f"# settings\nSHOP=lamps\n{line}\n")
    name = line.split("=", maxsplit=1)[0].removeprefix(" export ").strip()
    settings = Settings(tmp_path / "home", project=find_project(tmp_path))
    with (
        pytest.raises(ConfigError, match=rf"\.env sets {name}, so the local stack would use AWS"),
        local_stack(settings),
    ):
        pass


def test_settings_for_aws_in_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command with `--home` drops them."""
    home = tmp_path / "home"
    home.mkdir()
    (home / SETTINGS).write_text(json.dumps(environment(home, "http://127.0.0.1:9")))
    for name in (*AWS_ONLY, *environment(home, "")):
        monkeypatch.setenv(name, "arn:aws:iam::123456789012:role/paid")
    with session(home):
        resource = bedrock_resource()
    assert (resource.assume_role_arn, resource.regions, resource.vpc_subnet_ids) == (None, [], [])
    assert not resource.cloudwatch
