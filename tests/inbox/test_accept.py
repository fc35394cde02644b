"""Lines of a dropped file become records that say the same, whatever they hold and however they are written."""

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_assets.config.inbox import InboxSpec
from bedrock_assets.errors import ConfigError, InvalidInboxFile
from bedrock_assets.families import FAMILIES
from bedrock_assets.inbox.check_records import Lines
from bedrock_assets.inbox.inbox import Inbox, require_separate_folders
from bedrock_assets.pipeline.ids import WIRE_ID
from tests.labs.family_models import MODELS
from tests.labs.inbox import inbox_of
from tests.labs.stages import TITAN
from tests.outputs.test_jsonlines import inputs

ids = st.one_of(st.from_regex(WIRE_ID, fullmatch=True), st.text(min_size=1, max_size=40))
bodies = st.dictionaries(st.text(max_size=5), inputs, max_size=4)
keys = st.permutations(["recordId", "modelInput", "comment"])


@given(
    made=st.lists(st.tuples(ids, bodies, keys, st.booleans(), st.sampled_from(["", "\r", " "])), min_size=1),
    cut=st.integers(0, 10),
)
def test_what_a_line_says_is_sent(made: list[tuple[str, dict[str, Any], list[str], bool, str]], cut: int) -> None:
    """Each request is sent as it is, in order, under an id that Bedrock takes; ids are told as the file has them."""
    lines, inbox = Lines(inbox_of()), inbox_of()
    texts: list[bytes] = []
    for record_id, body, order, plain, end in made:
        value = {"recordId": record_id, "modelInput": body, "comment": "\u2028 {"}
        try:
            text = json.dumps({key: value[key] for key in order}, ensure_ascii=plain).encode()
        except UnicodeEncodeError:  # a lone surrogate, which no file can hold
            text = json.dumps({key: value[key] for key in order}).encode()
        texts.append(text + end.encode())
    if inbox.fault_of_request(made[0][1]):
        return
    read = [lines.read(b"\n".join(part) + b"\n") for part in (texts[:cut], texts[cut:]) if part]
    sent = [json.loads(line) for piece in read for line in piece]
    assert [one["modelInput"] for one in sent] == [body for _, body, *_ in made]
    assert all(re.fullmatch(WIRE_ID, one["recordId"]) for one in sent)
    assert [one for piece in lines.ids for one in piece] == [record_id for record_id, *_ in made]


@given(content=st.binary(max_size=60))
def test_any_bytes_are_records_or_refused(content: bytes) -> None:
    """There is no content that crashes the run that reads it."""
    with suppress(InvalidInboxFile):
        Lines(inbox_of()).read(content)


@pytest.mark.parametrize("name", FAMILIES)
def test_requests_of_other_families(name: str) -> None:
    """A request as the family itself writes it is taken, and one with another family's key is not."""
    inbox = inbox_of(model=MODELS[name], family=name)
    own = {"messages", "prompt", "inputText", "texts"} - {
        key for key in ("messages", "prompt", "inputText", "texts") if inbox.fault_of_request([key])
    }
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
        ({"model": "acme.unheard-of"}, "is not known"),
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
