"""
Credentials of the store: obstore, polars and boto3 call a real S3 server, which checks signatures, under the same keys,
which they get in every way that boto3 knows.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bedrock_assets.errors import ConfigError, StoreError
from bedrock_assets.inbox.files import list_files
from bedrock_assets.resources.store import StoreResource
from bedrock_assets.storage.parquet import write_frames
from bedrock_assets.storage.store import Store
from tests.emulator.worlds import KEY, REGION, S3
from tests.labs.identity import ROTATED, Region, open_place

BUCKET = "credentials-bucket"
ROTATION_S = 4


@pytest.fixture(scope="module")
def bucket(seaweedfs: S3) -> S3:
    """A server with a bucket."""
    seaweedfs.create_bucket(BUCKET)
    return seaweedfs


@pytest.fixture
def region(bucket: S3) -> Iterator[Region]:
    """A door before it, and endpoints whose credentials last an hour."""
    with open_place(bucket.url) as region:
        yield region


def store_at(region: Region, profile_name: str | None = None) -> Store:
    """The bucket, through the door."""
    url = f"s3://{BUCKET}/pre"
    return StoreResource(url=url, region_name=REGION, endpoint_url=region.door_url, profile_name=profile_name).open()


def use(store: Store) -> None:
    """Write and read by each of the libraries."""
    with store.writer("calls/a.parquet") as file:
        write_frames([pl.DataFrame({"id": [1, 2]})], file, {"bedrock_assets": json.dumps({"identity": "x"})})
    assert store.scan_parquet(["calls/a.parquet"]).collect()["id"].to_list() == [1, 2]
    assert store.parquet_facts("calls/a.parquet") == {"identity": "x"}
    assert [drop.name for drop in list_files(store, "calls")] == ["a.parquet"]
    assert [file.key for file in store.files("calls")] == ["calls/a.parquet"]


def libraries(region: Region) -> set[str]:
    """Which libraries were let in, by what they say they are."""
    return {agent.split("/")[0].lower() for _key, agent in region.callers}


def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    """A file of profiles, which is the only one."""
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


def test_a_wrong_secret_is_refused(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server looks at signatures: a key with another's secret reads and writes nothing."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "rotated-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match="403"):
        store_at(region).put("a", b"x")
    with pytest.raises(StoreError, match=r"(?i)403|forbidden|signature"):
        store_at(region).read_parquet("calls/a.parquet")


@pytest.mark.parametrize("how", ["AWS_PROFILE", "profile_name"])
def test_a_profile(region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A profile that is named, by the environment or by the resource, goes before keys in the default one."""
    keys = [f"aws_access_key_id = {key}\naws_secret_access_key = {secret}\n" for key, secret in ROTATED.items()]
    profiles(tmp_path, monkeypatch, f"[default]\n{keys[0]}[profile team]\n{keys[7]}")
    if how == "AWS_PROFILE":
        monkeypatch.setenv("AWS_PROFILE", "team")
    use(store_at(region, "team" if how == "profile_name" else None))
    assert region.keys == ["rotated-7"]
    assert len(libraries(region)) == 3


def test_stores_of_two_profiles_do_not_mix(region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that are opened and dropped in turn, each with its own profile, never call under another's keys."""
    config = ""
    for i in range(2):
        config += f"[profile p{i}]\naws_access_key_id = rotated-{i}\naws_secret_access_key = secret of {i}\n"
    profiles(tmp_path, monkeypatch, config)
    use(store_at(region, "p0"))
    for i in range(24):
        region.callers.clear()
        assert len(store_at(region, f"p{i % 2}").read_parquet("calls/a.parquet")) == 2
        assert region.keys == [f"rotated-{i % 2}"]


def test_a_container(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials of a container's agent, asked for once while they last."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{region.endpoints_url}/container")
    use(store_at(region))
    assert region.keys == ["rotated-0"] == list(region.issuer.issued)


def test_an_instance(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials of an instance's metadata service."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", region.endpoints_url)
    use(store_at(region))
    assert region.keys == ["rotated-0"]


def test_sso(region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile of SSO, whose login is cached, gets credentials from the portal."""
    start = "https://example.awsapps.com/start"
    profiles(
        tmp_path,
        monkeypatch,
        f"[profile sso]\nsso_start_url = {start}\nsso_region = {REGION}\nsso_account_id = 123456789012\n"
        "sso_role_name = Data\n",
    )
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    login = {"startUrl": start, "region": REGION, "accessToken": "login", "expiresAt": expires}
    (cache / f"{hashlib.sha1(start.encode()).hexdigest()}.json").write_text(json.dumps(login))  # noqa: S324 - its name
    # In a process of its own, as botocore looks for the home folder only once.
    program = f"""
from bedrock_assets.storage.store import Store
from tests.storage.test_credential_chain import use
use(Store("s3://{BUCKET}/pre", {REGION!r}, {region.door_url!r}))
"""
    env = {"HOME": str(tmp_path), "AWS_ENDPOINT_URL_SSO": region.endpoints_url, "AWS_PROFILE": "sso"}
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | env, timeout=60)
    assert region.keys == ["rotated-0"]


@pytest.mark.parametrize("how", ["source_profile", "web_identity"])
def test_an_assumed_role(moto: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A profile that assumes a role, and a pod's web identity, get temporary credentials from STS for all libraries."""
    role = "arn:aws:iam::123456789012:role/batch"
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.url)
    if how == "source_profile":
        keys = f"[profile base]\naws_access_key_id = {KEY}\naws_secret_access_key = {KEY}\n"
        profiles(
            tmp_path,
            monkeypatch,
            f"{keys}[profile batch]\nrole_arn = {role}\nsource_profile = base\nregion = {REGION}\n",
        )
        monkeypatch.setenv("AWS_PROFILE", "batch")
    else:
        (tmp_path / "token").write_text("a.web.token")
        settings = {"ROLE_ARN": role, "WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "DEFAULT_REGION": REGION}
        for name, value in settings.items():
            monkeypatch.setenv(f"AWS_{name}", value)
    moto.create_bucket(f"{BUCKET}-{how.replace('_', '-')}")
    with open_place(moto.url) as region:
        use(Store(f"s3://{BUCKET}-{how.replace('_', '-')}/pre", endpoint_url=region.door_url))
        (key,) = region.keys
        assert key.startswith("ASIA")  # temporary ones
        assert len(libraries(region)) == 3


def test_credentials_that_expire_are_renewed(bucket: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """One store, used through two rotations and more: each library calls under new keys, none under expired ones."""
    with open_place(bucket.url, life_s=ROTATION_S) as region:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{region.endpoints_url}/container")
        store, seen = store_at(region), list[set[str]]()
        for _ in range(3):
            region.callers.clear()
            use(store)
            by_library: dict[str, set[str]] = {}
            for key, agent in region.callers:
                by_library.setdefault(agent.split("/")[0], set()).add(key)
            assert len(by_library) == 3
            seen.append(set().union(*by_library.values()))
            time.sleep(ROTATION_S + 0.5)
        assert not (seen[0] & seen[1] | seen[1] & seen[2] | seen[0] & seen[2])


def test_credentials_are_missing(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any, and with a profile that is not there, the message says what to set."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for use_it in (lambda store: store.put("a", b"x"), lambda store: store.read_parquet("a.parquet")):
        with pytest.raises(StoreError, match="no AWS credentials are found; log in"):
            use_it(store_at(region))
    with pytest.raises(ConfigError, match=r"\(nobody\).*set AWS_PROFILE"):
        store_at(region, "nobody").put("a", b"x")


def test_credentials_that_cannot_be_renewed(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the agent does not answer any more, the store says that it is the credentials."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{region.endpoints_url}/container")
    region.issuer.life_s = 4
    store = store_at(region)
    store.put("a", b"x")
    region.issuer._left = iter(())
    time.sleep(4.5)
    with pytest.raises(StoreError, match="AWS credentials cannot be renewed"):
        store.put("a", b"x")


def test_region_and_endpoint_of_a_profile(region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile's own Region and endpoint hold for all libraries, where the settings name none."""
    keys = "aws_access_key_id = rotated-3\naws_secret_access_key = secret of 3\nregion = eu-central-1\n"
    services = f"services = here\n[services here]\ns3 =\n  endpoint_url = {region.door_url}\n"
    profiles(tmp_path, monkeypatch, f"[profile local]\n{keys}{services}")
    store = StoreResource(url=f"s3://{BUCKET}/pre", profile_name="local").open()
    use(store)
    assert region.keys == ["rotated-3"]
    assert store.s3.client.meta.region_name == "eu-central-1"
    told: dict[str, Any] = store.s3.polars["storage_options"]
    assert told["aws_region"] == store.s3.objects.config["region"] == "eu-central-1"
