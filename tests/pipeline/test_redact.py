"""Personal data are replaced before a prompt is made: all that is found, nothing else, and always in the same way."""

import json
import time
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bedrock_assets.config.redact import KINDS, RedactSpec
from bedrock_assets.errors import ConfigError, PromptError
from bedrock_assets.pipeline.detectors import DETECTORS, IBAN_LENGTHS, Tokens, luhn, mod_97, replace
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.pipeline.records import ERROR_MESSAGE, KEY, LINE, REDACTED
from bedrock_assets.pipeline.redact import Redactor
from bedrock_assets.storage.store import Store
from tests.labs.stages import MakePipeline, Stages

FOUND = {
    "write to Bob.O'Hara+x@mail.example.co.uk.": "write to <EMAIL_1>.",
    "bob@x.com, BOB@x.com and ann@ü-mail.de": "<EMAIL_1>, <EMAIL_1> and <EMAIL_2>",
    "IBAN DE89 3704 0044 0532 0130 00 THANKS": "IBAN <IBAN_1> THANKS",
    "gb29nwbk60161331926819;": "<IBAN_1>;",
    "4111-1111-1111-1111 123, amex 3782 822463 10005": "<CARD_1> 123, amex <CARD_2>",
    "no. 12 5500005555555559": "no. 12 <CARD_1>",
    "2345 4111 1111 1111 1111": "2345 <CARD_1>",
    "from 192.168.1.10, fe80::1ff:fe23:4567:890a and ::ffff:1": "from <IP_1>, <IP_2> and <IP_3>",
    "+49 170 1234567, 0049 170/1234567 (+49) 170": "<PHONE_1>, <PHONE_1> (+49) 170",
    "(555) 234-5678 or 555-234-5678 or 1 555.234.5678": "<PHONE_1> or <PHONE_1> or <PHONE_1>",
    "London 020 7946 0958, Berlin 030/12345678, 06 12 34 56 78": "London <PHONE_1>, Berlin <PHONE_2>, <PHONE_3>",
    "06.12.34.56.78, 030 / 1234567, Tel:0151 23456789": "<PHONE_1>, <PHONE_2>, Tel:<PHONE_3>",
    "(808)-782-1557, 808-782-1557x22, 808-782-1557 ext. 22": "<PHONE_1>, <PHONE_2>, <PHONE_2>",
    "Tel.:089/1234567, Tel.0151 - 2345678": "Tel.:<PHONE_1>, Tel.<PHONE_2>",
    "+49 151 - 23456789, +49 30 / 1234567": "<PHONE_1>, <PHONE_2>",
    "0151\u202f2345678, 0151\u20112345678": "<PHONE_1>, <PHONE_1>",
    "4111\u202f1111\u202f1111\u202f1111, 4111\u20111111\u20111111\u20111111": "<CARD_1>, <CARD_1>",
    "01.02.2024 0151 23456789, (01/02/2024) +49 151 23456789": "01.02.2024 <PHONE_2>, (01/02/2024) <PHONE_1>",
    "http://192.168.1.10/a 01.02.03.04.05": "http://<IP_1>/a <PHONE_1>",
    r'{"a": "Call\n+4915123456789\t0151 23456789\r808-782-1557\u00a00049 151 23456789"}': (
        r'{"a": "Call\n<PHONE_1>\t<PHONE_3>\r<PHONE_2>\u00a0<PHONE_1>"}'
    ),
    r"\n192.168.1.10\nfe80::1ff:fe23\n4111111111111111\u00a04111111111111111\nDE89370400440532013000": (
        r"\n<IP_1>\n<IP_2>\n<CARD_1>\u00a0<CARD_1>\n<IBAN_1>"
    ),
    "cell/808-782-1557, 0171 1234567/0172 1234567": "cell/<PHONE_1>, <PHONE_2>/<PHONE_3>",
    "電話03-1234-5678です": "電話<PHONE_1>です",
    "a&b@example.com, jo\u0301se@mu\u0308ller.de": "<EMAIL_1>, <EMAIL_2>",
    "bounce+bob=x.com@list.org, {ann@x.com}": "<EMAIL_1>, {<EMAIL_2>}",
    "a@b.com+4915112345678": "<EMAIL_1><PHONE_1>",
}
KEPT = (
    "2026-11-27 10:12:14 and 27.11.2026, 08.05.2020 12:30",
    "order 1234567890, item 4111111111111112, 1,234,567.89 and 0.123456789",
    "GB30 NWBK 6016 1331 9268 19 and XX29 NWBK 6016 1331 9268 19",
    "v1.2.3.4, 1.2.3.4.5, 300.1.1.1, std::vector and a::b, 12:30:45",
    "me @ home, @handle, user@host, <EMAIL_1>",
    "Stay 01/02/2024 3 nights, 01/02/2024-05/02/2024, 01/02/2024 05/02/2024, on 03/04/2025 12 people came",
    "am 05-11-2024 14 Uhr, 01.02.2024 1234 Euro, 2024-05-11 10:12:14 2024-05-12 11:13, 2024/05/11 14 30 55",
    "01-02-24 - 05-02-24, 01.02.24-05.02.24, 01/2024-12/2024, 08.00-12.00 14.00-18.00",
    "08.30 05.11.2024, 12:00 15/11/2024, 05.11. 08.00-09.30",
    "Chrome/119.0.0.0 Safari/537.36, dead::beef, add::bad",
    "978-0-19-852663-6, 12 34 56 78 90, pages 100-200",
    "",
)
PIECES = st.one_of(
    st.sampled_from([value for text in FOUND for value in text.split(" and ")]),
    st.sampled_from(
        [" ", "", "-", ".", ":", "@", "+", "0", "00", "1", "/", "(", ")", "<EMAIL_1>", "\u00a0", "\n", "é", "4"]
    ),
    st.from_regex(r"[0-9+ ().\-/]{0,30}", fullmatch=True),
    st.from_regex(r"[a-f0-9:]{0,20}", fullmatch=True),
    st.text(max_size=8),
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)


def redacted(text: str) -> str:
    """A text as all detectors leave it."""
    return replace(text, Tokens())[0]


def test_what_is_found() -> None:
    """Values that are checked, in the forms in which people write them; the same value has the same token."""
    for text, wanted in FOUND.items():
        assert redacted(text) == wanted


def test_what_is_kept() -> None:
    """Dates, amounts, versions, names in code, and numbers whose check digits are wrong."""
    for text in KEPT:
        assert redacted(text) == text


def test_check_digits() -> None:
    """One wrong digit is noticed, in each place."""
    for number, holds in (("4111111111111111", luhn), ("DE89370400440532013000", mod_97)):
        assert holds(number)
        for i, char in enumerate(number):
            if char.isdigit():
                assert not holds(number[:i] + str((int(char) + 1) % 10) + number[i + 1 :])
    assert all(15 <= length <= 33 for length in IBAN_LENGTHS.values())


@given(TEXTS)
def test_nothing_is_left(text: str) -> None:
    """No detector finds anything in what is sent; without a find nothing is changed, and twice is as once."""
    sent = redacted(text)
    assert not [span for detector in DETECTORS for span in detector.spans(sent)]
    assert redacted(sent) == sent
    if not any(True for detector in DETECTORS for _ in detector.spans(text)):
        assert sent == text


@given(st.lists(st.none() | TEXTS, max_size=6))
def test_the_hints_miss_nothing(texts: Sequence[str | None]) -> None:
    """What polars lets pass has nothing to be found: a frame is redacted as each of its texts alone."""
    frame = pl.DataFrame({"text": texts, "n": range(len(texts))}, schema={"text": pl.String, "n": pl.Int64})
    rows, counts = Redactor(("text",)).redact(frame)
    assert rows["text"].to_list() == [None if text is None else redacted(text) for text in texts]
    assert rows["n"].equals(frame["n"])
    assert counts.columns == [*KINDS]
    found = [[] if text is None else replace(text, Tokens())[1] for text in texts]
    assert counts.rows() == [tuple(kinds.count(kind) for kind in KINDS) for kinds in found]


def test_long_texts_take_no_longer() -> None:
    """No text makes a pattern go back and forth: 200 kB of what nearly matches take moments."""
    for piece in (
        "1 ",
        "0",
        "4111 ",
        "a.",
        "a@",
        "1.1.",
        "a:",
        "DE89 ",
        "+1 (",
        "0 0",
        "@a.",
        "-",
        "00 1",
        "%",
        "a&",
        "0 / 1",
        "(808) ",
    ):
        text = piece * (200_000 // len(piece))
        started = time.process_time()
        redacted(text)
        assert time.process_time() - started < 10, piece


def test_columns_of_a_row(make_pipeline: MakePipeline) -> None:
    """One value has one token in all columns of a row; lists, structs and numbers are looked at, too."""
    messages = [[{"from": "bob@x.com", "text": "call\n0171 1234567", "n": 4111111111111111}], None]
    frame = pl.DataFrame({"a": ["to bob@x.com", "to ann@x.com"], "b": messages, "c": [49170, 4111111111111111]})
    pipeline = make_pipeline(
        frame, task={"text": {"prompt": "{a} {b} {c}", "system": "{a}", "null_default": "-"}}, redact=["b", "a", "c"]
    )
    rows = frame.with_columns(record_id=pl.Series(["1", "2"]))
    shown = '[{"from":"<EMAIL_1>","text":"call\\n<PHONE_1>","n":"<CARD_1>"}]'
    assert pipeline.records.texts(rows).to_list() == [
        f"to <EMAIL_1> {shown} 49170",
        "to <EMAIL_1> - <CARD_1>",
    ]
    made = pipeline.records.make(rows, keyed=True)
    assert "@x.com" not in "".join(made[LINE])
    assert json.loads(made[LINE][0])["modelInput"]["system"] == "to <EMAIL_1>"
    assert made[REDACTED].struct.field("email").to_list() == [2, 1]
    assert made[REDACTED].struct.field("card").to_list() == [1, 1]
    repaired = pipeline.records.make(rows, pl.Series(["no JSON", "no JSON"]))
    assert repaired[LINE].str.contains("did not conform: no JSON", literal=True).all()
    assert "@x.com" not in "".join(repaired[LINE])
    assert pipeline.records.make(rows.clear(), keyed=True).is_empty()


def test_nested_values(make_pipeline: MakePipeline) -> None:
    """Names of a struct, whole floats, and JSON as a text within it; names that get one token stay two."""
    held = {"bob@x.com": 1.5, "BOB@x.com": True, "n": [4111111111111111.0, 0.25], "t": r'{"a": "\n+49 170 1234567"}'}
    frame = pl.DataFrame({"a": [held], "b": [[4111111111111111.0]]})
    records = make_pipeline(frame, prompt="{a} {b}", redact=["a", "b"]).records
    rows = frame.with_columns(record_id=pl.Series(["1"]))
    (text,) = records.texts(rows)
    first, second = text.split(" [")
    assert json.loads(first) == {
        "<EMAIL_1>": 1.5,
        "<EMAIL_1> (2)": True,
        "n": ["<CARD_1>.0", 0.25],
        "t": r'{"a": "\n<PHONE_1>"}',
    }
    assert second == '"<CARD_1>.0"]'
    made = records.make(rows, keyed=True)
    assert made[REDACTED].to_list() == [{"email": 2, "iban": 0, "card": 2, "ip": 0, "phone": 1}]
    assert not any(secret in made[LINE][0] for secret in ("x.com", "4111", "1234567"))


def test_kinds(make_pipeline: MakePipeline) -> None:
    """Only what is asked for; rows that say the same without it are one prompt."""
    frame = pl.DataFrame({"text": ["bob@x.com 0171 1234567", "ann@x.com 0171 1234567"]})
    pipeline = make_pipeline(
        frame, task={"text": {"prompt": "{text}"}}, redact={"columns": ["text"], "kinds": ["email"]}
    )
    made = pipeline.records.make(frame.with_columns(record_id=pl.Series(["1", "2"])), keyed=True)
    assert made[KEY].n_unique() == 1
    assert "<EMAIL_1> 0171 1234567" in made[LINE][0]


def test_a_text_to_embed(make_pipeline: MakePipeline) -> None:
    """It is redacted before it is cut, so that no half of a value is sent; the note is about what is sent."""
    frame = pl.DataFrame({"text": ["x" * 40 + " bob.the.builder@example.com and so on", "short"]})
    pipeline = make_pipeline(
        frame,
        model="amazon.titan-embed-text-v2:0",
        task={"embedding": {"column": "text", "truncate": {"chars": 50}}},
        redact=["text"],
    )
    rows = frame.with_columns(record_id=pl.Series(["1", "2"]))
    made = pipeline.records.make(rows)
    assert "bob" not in "".join(made[LINE])
    assert "<EMAIL_1>" in made[LINE][0]
    assert made[ERROR_MESSAGE].to_list()[1] is None


def test_the_text_of_a_group(make_pipeline: MakePipeline, store: Store) -> None:
    """What a group's text shows of a column is replaced there, too; a pipeline that would send it is refused."""
    turns = {"call": ["1", "1"], "who": ["bob@x.com", "ann"], "text": ["call 0171 1234567", "not bob@x.com?"]}
    group = {"columns": "call", "each": "{who}: {text}", "into": "talk"}

    path = make_pipeline(pl.DataFrame(turns)).path

    def make(redact: Sequence[str], prompt: str = "Sum up: {talk}") -> Pipeline:
        source = {"path": path, "group_by": group}
        return make_pipeline(pl.DataFrame(turns), source=source, prompt=prompt, redact=redact)

    with pytest.raises(ConfigError, match=r"`group_by.each` writes column 'who' into 'talk', .*; add 'talk' to"):
        make(["who", "text"])
    for redact in (["talk"], ["who", "text", "talk"]):
        pipeline = make(redact)
        assert not any("redact" in notice for notice in pipeline.notices)
        (record,) = Stages.of(pipeline, store).sent()
        shown = "Sum up: <EMAIL_1>: call <PHONE_1>\nann: not <EMAIL_1>?"
        assert record["modelInput"]["messages"][0]["content"][0]["text"] == shown
    assert "redact: column 'who' is not in the prompt, so it is not sent anyway" in make(["who", "talk"], "a").notices


def test_mistakes(make_pipeline: MakePipeline) -> None:
    """Each is told before anything is read or paid; a column that is not in the prompt is only noted."""
    frame = pl.DataFrame({"id": ["a"], "text": ["b"], "scan": [b"c"]})
    typo = make_pipeline(frame, redact=["txt"])
    with pytest.raises(PromptError, match="redact: column 'txt' is not in the dataset; it has: id, text, scan"):
        typo.check_columns(frame.columns)
    with pytest.raises(ConfigError, match="redact: column 'id' makes the record ids"):
        make_pipeline(frame, redact=["id"], id_column="id")
    task = {"text": {"prompt": "{text}", "documents": ["scan"]}}
    with pytest.raises(ConfigError, match="redact: column 'scan' holds images or documents"):
        make_pipeline(frame, task=task, redact=["scan"], model="us.anthropic.claude-haiku-4-5-20251001-v1:0")
    for wrong in ([], ["text", 3], {"columns": ["text"], "kinds": ["name"]}, {"columns": ["text"], "kinds": []}):
        with pytest.raises(ValidationError, match="redact"):
            make_pipeline(frame, redact=wrong)
    for empty in ([], {"columns": []}, {"columns": ["text"], "kinds": []}):
        with pytest.raises(ValidationError, match="nothing is named, so nothing would be replaced; name what to"):
            make_pipeline(frame, redact=empty)
    twice = make_pipeline(frame, redact={"columns": ["text", "text"], "kinds": ["ip", "email", "ip"]})
    assert twice.records.redactor == Redactor(("text",), ("ip", "email"))
    assert twice.records.texts(pl.DataFrame({"text": ["bob@x.com"]})).to_list() == ["Say <EMAIL_1>"]
    assert make_pipeline(frame, redact="text").spec.redact == RedactSpec(columns=("text",))
    noted = make_pipeline(frame, redact=["text", "scan"], task={"text": {"prompt": "{text}"}})
    assert "redact: column 'scan' is not in the prompt, so it is not sent anyway" in noted.notices
    assert noted.records.redactor == Redactor(("text",))


def test_an_edit_is_another_prompt(make_pipeline: MakePipeline) -> None:
    """Requests that wait with texts as they are do not go on when `redact` is set."""
    frame = pl.DataFrame({"text": ["b"]})
    before, after = make_pipeline(frame), make_pipeline(frame, redact=["text"])
    assert after.workload.changed_since(before.workload.configuration) == ["prompt"]
