"""
Finds e-mail addresses, account, card and phone numbers and IP addresses in a text.

Each detector has a pattern whose every repetition is bounded, so that time is linear in the text, and a check of what
it matched. Sources: ISO 13616 (IBAN: lengths by country, SWIFT's registry, 2026-11; check digits modulo 97), ISO/IEC
7812 (cards: 13 to 19 digits, Luhn), E.164 (phone numbers: 8 to 15 digits with the country's code).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from bedrock_assets.config.redact import Kind

_SPACE = " \u00a0\u2009\u202f"
_HYPHEN = "\u2010\u2011\u2013-"
"""Last in a class, as it ends with the plain one."""
_GAP = f"[{_SPACE}{_HYPHEN}]?"
_BETWEEN = f"[{_SPACE}./(){_HYPHEN}]{{0,3}}"
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u065f\u0900-\u0e4e\u00ad\u200b-\u200d\u2060"
"""Accents that are characters of their own, and what has no width: no word characters for `re`."""
_LOCAL = f"\\w{_MARKS}.%+'{_HYPHEN}"
_ESCAPED = r"(?<=\\[nrtbf])|(?<=\\u[0-9A-Fa-f]{4})"
"""After an escape of JSON that a text holds: its letter is no part of a word."""
_ESCAPED_1 = r"(?<=\\[nrtbf].)|(?<=\\u[0-9A-Fa-f]{4}.)"
_NO_FRACTION = rf"(?:(?<![A-Za-z0-9_].)(?<![0-9],.)(?<![\W\d_]\..)(?<!\A\..)(?<![0-9]:.)|{_ESCAPED_1})"
"""After the first character, by which `re` finds places faster: it may follow `Tel.`, but no decimal or time."""
_NO_NAME = rf"{_NO_FRACTION}(?<!-.)"
"""Nor within a name with hyphens."""
_NO_PATH = rf"{_NO_NAME}(?<![^>]/.)(?<!\A/.)"
"""Nor within a path or a date, but after a number that was replaced."""
_AREA, _JOINT, _EXTENSION = "[2-9][0-9]{2}", f"[{_SPACE}.{_HYPHEN}]?", "(?:x|X|[eE]xt\\.?|#)"
_IN_PARENTHESES = rf"{_AREA}\){_BETWEEN}{_AREA}{_JOINT}"
_IN_GAPS = (
    f"[0-9]{{2}}(?:[{_SPACE}./{_HYPHEN}]|[{_SPACE}][/{_HYPHEN}][{_SPACE}])"
    f"{_AREA}(?:[{_SPACE}.{_HYPHEN}]|[{_SPACE}][{_HYPHEN}][{_SPACE}])"
)
"""The digits between the first one and the last four, of North American numbers."""
_IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
    "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
    "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_LENGTHS.split()}
"""Characters of an IBAN by country."""
MIN_CARD_DIGITS, MAX_CARD_DIGITS = 13, 19
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_TO = f"[{_SPACE}{_HYPHEN}]{{1,3}}"
_DAY = "[0-3][0-9](?:/[0-3][0-9]/|-[0-3][0-9]-|[.][0-3][0-9][.])"
_MOMENT = (
    f"(?:{_DAY}(?:[0-9]{{2}}(?:[0-9]{{2}})?)?"  # 05.11., 05/11/24, 05-11-2024
    "|[01][0-9][./-](?:19|20)[0-9]{2}"  # 11/2024
    "|[0-2][0-9][.][0-5][0-9])(?![0-9])"  # 08.30
)
_DATE = re.compile(rf"\(?(?:{_DAY}(?:19|20)[0-9]{{2}}(?![0-9])|{_MOMENT}{_TO}{_MOMENT})")
"""How what looks like a number with a leading 0 begins if it is a date, or two dates or times."""


@dataclass(frozen=True)
class Detector:
    """One form of one kind."""

    kind: Kind
    hint: str
    """A pattern for polars that is in every text with a match, and cheap to look for."""
    pattern: re.Pattern[str]
    accept: Callable[[str], int]
    """Of the characters that matched, how many are the value; 0 if none is."""
    identity: Callable[[str], str]
    """The same for two ways to write one value."""

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where values begin and end, from left to right; no two overlap."""
        position = 0
        while found := self.pattern.search(text, position):
            start, n_chars = found.start(), self.accept(found[0])
            if n_chars:
                yield start, start + n_chars
            position = start + (n_chars or 1)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of a card's number."""
    return sum(int(d) if i % 2 == 0 else _DOUBLED[int(d)] for i, d in enumerate(reversed(digits))) % 10 == 0


def mod_97(iban: str) -> bool:
    """Whether the check digits of an IBAN, without gaps, are right."""
    moved = iban[4:] + iban[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def _whole(text: str) -> int:
    return len(text)


def _iban(text: str) -> int:
    """Characters of the IBAN at the start of a text: as many as its country has, with gaps."""
    wanted, value = IBAN_LENGTHS.get(text[:2].upper(), 0), ""
    for position, char in enumerate(text, 1):
        value += char.upper() if char.isalnum() else ""
        if wanted and len(value) == wanted:
            goes_on = position < len(text) and text[position].isalnum()
            return position if not goes_on and mod_97(value) else 0
    return 0


def _card(text: str) -> int:
    """Characters of the card's number at the start of a text, the longest that has a check digit."""
    for end in range(len(text), 0, -1):
        if not text[end - 1].isdigit() or (end < len(text) and text[end].isdigit()):
            continue
        digits = _digits(text[:end])
        if MIN_CARD_DIGITS <= len(digits) <= MAX_CARD_DIGITS and luhn(digits):
            return end
    return 0


def _address(text: str) -> int:
    try:
        ip_address(text)
    except ValueError:
        return 0
    # `::1`, and names in code: `a::b`, `dead::beef`
    likely = any(map(str.isdecimal, text)) and sum(map(str.isalnum, text)) > 3  # noqa: PLR2004
    return len(text) if "." in text or likely else 0


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())


def _phone(text: str) -> str:
    return _digits(text).removeprefix("00")


def _phone_of(least: int, most: int) -> Callable[[str], int]:
    return lambda text: len(text) if least <= len(_phone(text)) <= most and not _DATE.match(text) else 0


DETECTORS = (
    Detector(
        "email",
        "@",
        re.compile(
            f"(?<![{_LOCAL}])[{_LOCAL}][!#$&*/=?^`{{|}}~{_LOCAL}]{{0,255}}"
            rf"@(?:[\w{_MARKS}{_HYPHEN}]{{1,63}}\.){{1,8}}[^\W\d_]{{2,63}}"
        ),
        _whole,
        str.lower,
    ),
    Detector(
        "iban",
        f"[A-Za-z]{{2}}[0-9]{{2}}(?:{_GAP}[A-Za-z0-9]){{11}}",
        re.compile(f"(?:(?<![A-Za-z0-9])|{_ESCAPED})[A-Za-z]{{2}}[0-9]{{2}}(?:{_GAP}[A-Za-z0-9]){{11,29}}"),
        _iban,
        lambda text: re.sub(_GAP, "", text).upper(),
    ),
    Detector(
        "card",
        f"[2-6](?:{_GAP}[0-9]){{12}}",
        re.compile(
            f"(?:(?<![0-9+])|{_ESCAPED})[2-6][0-9]{{3}}{_GAP}[0-9]{{4,6}}{_GAP}[0-9]{{4,5}}(?:{_GAP}[0-9]{{1,4}}){{0,2}}(?![0-9])"
        ),
        _card,
        _digits,
    ),
    Detector(
        "ip",
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        re.compile(rf"(?:(?<![\w.])(?<![A-Za-z]/)|{_ESCAPED})(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}(?![\w]|\.[0-9])"),
        _address,
        str,
    ),
    Detector(
        "ip",
        "::|(?:[0-9A-Fa-f]{1,4}:){7}",
        re.compile(
            rf"(?:(?<![\w:.])|{_ESCAPED})"
            r"(?:[0-9A-Fa-f]{1,4}:|:(?=:)|:(?=[0-9A-Fa-f])){2,8}[0-9A-Fa-f]{1,4}(?![\w:])"
        ),
        _address,
        lambda text: str(ip_address(text)),
    ),
    Detector(
        "phone",
        rf"(?:\+|00)[1-9](?:{_BETWEEN}[0-9]){{7}}",
        re.compile(
            rf"(?:\+(?:(?<![A-Za-z0-9_+].)|{_ESCAPED_1})|0{_NO_FRACTION}(?<!\+.)0)[1-9](?:{_BETWEEN}[0-9]){{7,14}}(?![0-9])"
        ),
        _phone_of(8, 15),
        _phone,
    ),
    Detector(
        "phone",
        rf"\){_BETWEEN}{_AREA}{_JOINT}[0-9]{{4}}|{_AREA}{_BETWEEN}{_AREA}{_BETWEEN}[0-9]{{4}}",
        re.compile(
            rf"(?:1{_NO_NAME}{_JOINT}(?:\({_IN_PARENTHESES}|[2-9]{_IN_GAPS})"
            rf"|\({_NO_NAME}{_IN_PARENTHESES}|[2-9]{_NO_NAME}{_IN_GAPS})[0-9]{{4}}"
            rf"(?:[{_SPACE}]?{_EXTENSION}[{_SPACE}]?[0-9]{{1,8}})?(?![A-Za-z0-9_]|-[0-9])"
        ),
        _whole,
        lambda text: "x".join([_digits(part)[-10:] for part in re.split(_EXTENSION, text)]),
    ),
    Detector(
        "phone",
        # Within a number, such as a year, only after an escape.
        rf"(?:^|[^0-9]|\\u[0-9A-Fa-f]{{4}})0[1-9](?:{_BETWEEN}[0-9]){{7}}",
        re.compile(rf"(?:0{_NO_PATH}|\({_NO_PATH}0)[1-9](?:{_BETWEEN}[0-9]){{7,10}}(?![A-Za-z0-9_]|[.,:-][0-9])"),
        _phone_of(9, 12),
        _phone,
    ),
)
"""In this order: an account number is no phone number."""


Tokens = dict[Kind, dict[str, str]]
"""By kind, the token of each value that was found so far."""


def replace(text: str, tokens: Tokens, detectors: Sequence[Detector] = DETECTORS) -> tuple[str, list[Kind]]:
    """
    Replace what is found by tokens, until nothing is found.

    Args:
        tokens: Those that are given already; new ones are added, numbered on.
        detectors: At least those whose hint is in the text.

    Returns:
        The text, and the kind of each value that was replaced.
    """
    replaced = list[Kind]()
    while True:
        before = text
        for detector in detectors:
            text = _replace(detector, text, tokens, replaced)
        # What was next to a value may be one itself without it; a token brings no other hint.
        if text == before:
            return text, replaced


def _replace(detector: Detector, text: str, tokens: Tokens, replaced: list[Kind]) -> str:
    pieces, position, kind = list[str](), 0, detector.kind
    for start, end in detector.spans(text):
        given = tokens.setdefault(kind, {})
        token = given.setdefault(detector.identity(text[start:end]), f"<{kind.upper()}_{len(given) + 1}>")
        pieces += [text[position:start], token]
        replaced.append(kind)
        position = end
    return "".join([*pieces, text[position:]]) if pieces else text
