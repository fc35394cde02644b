"""Names of jobs, and what their statuses mean."""

import re
from functools import lru_cache
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.aws.job import JobStatus
from bedrock_assets.jobs.shard_request import job_name, name_prefix
from bedrock_assets.limits import JOB_NAME, MAX_JOB_NAME_CHARS

TOKEN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
pipelines = st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True)
shards = st.integers(1, 999_999).flatmap(lambda n: st.integers(0, n - 1).map(lambda i: f"{i:05d}-of-{n:05d}"))
URI = "s3://my-bucket/calls/jobs/x"


@lru_cache
def aws_shape(name: str) -> Any:
    """A shape of the service model."""
    return botocore.session.get_session().get_service_model("bedrock").shape_for(name)


@given(
    pipeline=pipelines,
    shard=shards,
    attempt=st.integers(1, 9),
    fingerprint=st.text("0123456789abcdef", min_size=16, max_size=16),
)
def test_names_are_names_and_tokens(pipeline: str, shard: str, attempt: int, fingerprint: str) -> None:
    """Any pipeline and shard give a name that Bedrock takes, as a name and as an idempotency token."""
    name = job_name(pipeline, shard, fingerprint, attempt, URI)
    assert len(name) <= MAX_JOB_NAME_CHARS
    assert JOB_NAME.fullmatch(name)
    assert TOKEN.fullmatch(name)
    assert name.startswith(name_prefix(pipeline))


def test_the_longest_name_fits() -> None:
    """The longest pipeline name and shards of six digits stay within 63 characters."""
    name = job_name("a" * 40, "999999-of-1000000", "f" * 16, 9, "s3://" + "b" * 500)
    assert len(name) <= MAX_JOB_NAME_CHARS
    assert "999999-of-1000000" in name


def test_the_same_content_has_the_same_name() -> None:
    """A name is fixed by what is paid for: it is this one, now and in later releases."""
    name = job_name("call_summaries", "00000-of-00045", "0123456789abcdef", 1, URI)
    assert name == "ba-call-summaries-00000-of-00045-a471b5a2b770-1"


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "b" * 16},
        {"attempt": 2},
        {"output_uri": "s3://other/x"},
        {"shard": "00001-of-00002"},
        {"pipeline": "q"},
    ],
)
def test_other_content_has_another_name(change: dict[str, object]) -> None:
    """Another content, attempt, store, shard or pipeline is another job."""
    base = {"pipeline": "p", "shard": "00000-of-00002", "fingerprint": "a" * 16, "attempt": 1, "output_uri": URI}
    assert job_name(**base) != job_name(**(base | change))  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.text(min_size=1), st.integers(1, 99), st.text()), unique=True, max_size=8))
def test_names_do_not_run_together(parts: list[tuple[str, int, str]]) -> None:
    """Fingerprint, attempt and output URI are kept apart in the hash: no two triples share a name."""
    names = {job_name("p", "00000-of-00001", f, attempt, uri) for f, attempt, uri in parts if "\n" not in f + uri}
    assert len(names) == len([1 for f, _, uri in parts if "\n" not in f + uri])


def test_the_length_of_names() -> None:
    """A name of 63 characters is one, of 64 none."""
    assert JOB_NAME.fullmatch("a" * 63)
    assert not JOB_NAME.fullmatch("a" * 64)


def test_statuses_are_those_of_aws() -> None:
    """Every status of the service model is known, and those before an end take a slot."""
    assert {str(status) for status in JobStatus} == set(aws_shape("ModelInvocationJobStatus").enum)
    flying = {"Submitted", "Validating", "Scheduled", "InProgress", "Stopping"}
    assert {str(status) for status in JobStatus if status.in_flight} == flying


# Few hyphens: the service model's form takes exponential time for many.
@given(
    st.one_of(
        st.text(), st.from_regex(r"[a-zA-Z0-9+.]{0,40}(-[a-zA-Z0-9+.-]?){0,6}[a-zA-Z0-9+.]{0,30}", fullmatch=True)
    )
)
def test_the_pattern_of_names_is_that_of_aws(name: str) -> None:
    """Our linear form of the pattern takes the names that the service model's own takes, and no others."""
    shape = aws_shape("ModelInvocationJobName")
    theirs = re.fullmatch(shape.metadata["pattern"], name) and len(name) <= shape.metadata["max"]
    assert bool(JOB_NAME.fullmatch(name)) == bool(theirs)
