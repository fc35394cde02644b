"""Sessions that share what botocore reads of AWS's services, and nothing else."""

from pathlib import Path

import pytest
from botocore.exceptions import ProfileNotFound

from bedrock_assets.aws.sessions import open_session

KEYS = {"region_name": "us-east-1", "aws_access_key_id": "first", "aws_secret_access_key": "local"}


def test_the_files_of_a_service_are_read_once() -> None:
    """A second session finds parsed what the first has read, and its list of folders does not grow."""
    first, second = open_session(**KEYS), open_session(**KEYS)
    models = [session.client("bedrock").meta.service_model for session in (first, second)]
    assert models[0]._service_description is models[1]._service_description
    loaders = [session._session.get_component("data_loader") for session in (first, second)]
    assert loaders[0] is loaders[1]
    assert len(loaders[0].search_paths) == len(set(loaders[0].search_paths))


def test_credentials_are_each_sessions_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys of one session are not the other's; a profile is read from the user's file, and an unknown one refused."""
    file = tmp_path / "credentials"
    file.write_text("[mine]\naws_access_key_id = third\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    sessions = [
        open_session(**KEYS),
        open_session(**{**KEYS, "aws_access_key_id": "second"}),
        open_session(profile_name="mine", region_name="eu-west-1"),
    ]
    found = [session.get_credentials() for session in sessions]
    assert [keys.access_key for keys in found if keys] == ["first", "second", "third"]
    assert sessions[2].client("bedrock").meta.region_name == "eu-west-1"
    with pytest.raises(ProfileNotFound):
        open_session(profile_name="nobody").get_credentials()
