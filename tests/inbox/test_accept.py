"""Lines of a dropped file become records that say the same, whatever they hold and however they are written."""

import json
import re
from contextlib import suppress
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.errors import ConfigError, InvalidInboxFile, StoreError
from bedrock_assets.families import FAMILIES
from bedrock_assets.inbox.check_records import Lines, to_rename
from bedrock_assets.inbox.inbox import Inbox, require_separate_folders
from bedrock_assets.pipeline.ids import WIRE_ID
from tests.labs.family_models import MODELS
from tests.labs.inbox import inbox_of
from tests.labs.stages import HAIKU, TITAN
from tests.outputs.test_jsonlines import inputs

ids = st.one_of(st.from_regex(WIRE_ID, fullmatch=True), st.text(min_size=1, max_size=40))
bodies = st.dictionaries(st.text(max_size=5), inputs, max_size=4)
keys = st.permutations(["recordId", "modelInput", "comment"])


Made = list[tuple[str | None, dict[str, Any], list[str], bool, str]]
made_with = st.lists(st.tuples(ids, bodies, keys, st.booleans(), st.sampled_from(["", "\r", " "])), min_size=1)
"""Record id, request, order of the keys, whether all is ASCII, and the end of each line."""
few_ids = st.sampled_from([None, "", "r1", "r2", "a b", "000000001aaaaaaa"])
made_without = st.lists(st.tuples(few_ids, bodies, keys, st.booleans(), st.just("")), min_size=1, max_size=6)


def texts_of(made: Made, *, nulls: bool = False) -> list[bytes]:
    """The lines of a file; without an id there is no key, or with *nulls* a null."""
    texts: list[bytes] = []
    for record_id, body, order, plain, end in made:
        value = {"recordId": record_id, "modelInput": body, "comment": "\u2028 {"}
        pairs = {key: value[key] for key in order if nulls or value[key] is not None}
        try:
            text = json.dumps(pairs, ensure_ascii=plain).encode()
        except UnicodeEncodeError:  # a lone surrogate, which no file can hold
            text = json.dumps(pairs).encode()
        texts.append(text + end.encode())
    return texts


def passes(texts: list[bytes], cut: int) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """The records of a file that comes in two pieces, and their ids, read as often as `accept_file` does."""
    renamed: pl.Series | None = None
    while True:
        lines = Lines(inbox_of(), renamed)
        read = [lines.read(b"\n".join(part) + b"\n") for part in (texts[:cut], texts[cut:]) if part]
        renamed = to_rename(lines.all_ids(), renamed)
        if renamed is None:
            return [json.loads(line) for piece in read for line in piece], lines.all_ids()


@given(made=made_with, cut=st.integers(0, 10))
def test_what_a_line_says_is_sent(made: Made, cut: int) -> None:
    """Each request is sent as it is, in order, under an id that Bedrock takes; ids are told as the file has them."""
    texts, lines, inbox = texts_of(made), Lines(inbox_of()), inbox_of()
    if inbox.fault_of_request(made[0][1]):
        return
    read = [lines.read(b"\n".join(part) + b"\n") for part in (texts[:cut], texts[cut:]) if part]
    sent = [json.loads(line) for piece in read for line in piece]
    assert [one["modelInput"] for one in sent] == [body for _, body, *_ in made]
    assert all(re.fullmatch(WIRE_ID, one["recordId"]) for one in sent)
    assert lines.all_ids()["id"].to_list() == [record_id for record_id, *_ in made]
    assert lines.all_ids()["given_id"].to_list() == [record_id for record_id, *_ in made]


@given(made=made_without, cut=st.integers(0, 6), nulls=st.booleans())
def test_ids_that_are_absent_or_repeated(made: Made, cut: int, nulls: bool) -> None:
    """Such records get plain ids of ours, each its own and the same in each reading; all others keep theirs."""
    if inbox_of().fault_of_request(made[0][1]):
        return
    sent, read = passes(texts_of(made, nulls=nulls), cut)
    given_ids = [record_id or None for record_id, *_ in made]
    ids = read["id"].to_list()
    assert [one["modelInput"] for one in sent] == [body for _, body, *_ in made]
    assert read["given_id"].to_list() == given_ids
    assert len(set(ids)) == len({one["recordId"] for one in sent}) == len(made)
    assert all(re.fullmatch(WIRE_ID, one["recordId"]) for one in sent)
    for ours, theirs in zip(ids, given_ids, strict=True):
        assert ours == theirs if given_ids.count(theirs) == 1 and theirs else re.fullmatch(r"\d{9}[0-9a-f]{7}", ours)
    assert passes(texts_of(made, nulls=nulls), 0)[1].equals(read)


def test_an_id_that_looks_like_ours() -> None:
    """If a record has the very id that another one gets from us, both get one of ours."""
    nameless = [{"modelInput": {"n": n}} for n in range(2)]
    _, first = passes(
        texts_of([(None, one["modelInput"], ["recordId", "modelInput"], True, "") for one in nameless]), 0
    )
    taken = first["id"][0]
    made: Made = [(None, {"n": 0}, ["recordId", "modelInput"], True, ""), (taken, {"n": 1}, ["modelInput"], True, "")]
    made[1][2].append("recordId")
    _, read = passes(texts_of(made), 0)
    assert read["given_id"].to_list() == [None, taken]
    assert read["id"].to_list() == first["id"].to_list()


def test_a_file_that_grows_between_two_readings() -> None:
    """A second reading that finds more records than the first is told as a change of the file."""
    text = b'{"modelInput": {}}\n'
    with pytest.raises(StoreError, match="changed while it was read"):
        Lines(inbox_of(), pl.Series([True])).read(2 * text)


@given(content=st.binary(max_size=60))
def test_any_bytes_are_records_or_refused(content: bytes) -> None:
    """There is no content that crashes the run that reads it."""
    with suppress(InvalidInboxFile):
        Lines(inbox_of()).read(content)


@pytest.mark.parametrize("name", FAMILIES)
def test_requests_of_other_families(name: str) -> None:
    """A request as the family itself writes it is taken, and one with another family's key is not."""
    inbox = inbox_of(model=MODELS[name], family=name, model_facts={"batch": True})
    keys = ("messages", "prompt", "inputText", "texts", "singleEmbeddingParams")
    own = {key for key in keys if inbox.fault_of_request([key]) is None}
    assert len(own) == 1
    assert inbox.fault_of_request([*own, "texts", "other"]) is None
    assert inbox.fault_of_request(["inputImage"]) is None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"dimensions": 256}, "answers in text; leave it out"),
        ({"model": TITAN, "dimensions": 300}, "300 is not offered"),
        ({"processed_to": "to-process"}, "three separate folders"),
        ({"processed_to": "to-process/done"}, "'to-process/done/' is the same as, or inside, folder 'to-process/'"),
        ({"dropped_to": "mail/drops"}, "'mail/drops/' is the same as, or inside, folder 'mail/'"),
        ({"dropped_to": "../out"}, "dropped_to"),
        ({"dropped_to": "/abs"}, "dropped_to"),
        ({"setle_s": 3}, "did you mean settle_s"),
        ({"model": "unheard-of"}, "is no model id"),
        ({"model": "amazon.nova-reel-v1:0"}, "answers neither with text nor with one vector"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], reason: str) -> None:
    """A setting that cannot be is told by its name, with the cure, before anything is read."""
    with pytest.raises((ConfigError, ValueError), match=reason):
        inbox_of(**settings)


def test_folders_that_are_shared() -> None:
    """Two inboxes, or an inbox and a pipeline, share no folder."""
    first, second = (InboxSpec(name=name, model=TITAN) for name in ("first", "second"))
    with pytest.raises(ConfigError, match="give each inbox folders of its own"):
        require_separate_folders([first, second], [])
    with pytest.raises(ConfigError, match="pipeline processed has folder"):
        require_separate_folders([first], ["processed"])
    apart = InboxSpec(name="second", model=TITAN, dropped_to="vectors/in", processed_to="vectors/out")
    require_separate_folders([first, apart], ["calls"])
    assert Inbox(apart).workload.dimensions == 1024


@pytest.mark.parametrize("model", ["cohere.embed-english-v3", "us.cohere.embed-v4:0"])
def test_several_texts_in_one_record(model: str) -> None:
    """A record of Cohere with several texts, whose vectors would have one row, is refused with its line."""
    inbox = Inbox(InboxSpec(name="drop", model=model))
    texts: list[Any] = [["a"], ["b"], ["c", "d"]]
    lines = [json.dumps({"recordId": f"r{i}", "modelInput": {"texts": one}}) for i, one in enumerate(texts)]
    with pytest.raises(InvalidInboxFile, match="line 3 has several texts, and a record has one row"):
        Lines(inbox).read("\n".join(lines).encode())
    assert len(Lines(inbox).read("\n".join(lines[:2]).encode())) == 2
    odd = json.dumps({"recordId": "x", "modelInput": {"images": ["data:"], "input_type": "image"}})
    assert len(Lines(inbox).read(f"{lines[0]}\n{odd}\n".encode())) == 2


def test_only_lists_of_texts_are_counted() -> None:
    """Chat requests, and models that take one text, have no such list."""
    models = (HAIKU, TITAN)
    assert [Inbox(InboxSpec(name="drop", model=model)).texts_key for model in models] == [None, None]
