"""Summary of a text without a model: what it is about, and its weightiest sentences, in its own words."""

import re
from collections import Counter
from collections.abc import Sequence

N_SENTENCES = 2
N_SUBJECTS = 3
MAX_SENTENCE_CHARS = 300
LONG_LINE_CHARS = 160
MAX_SENTENCES_READ = 500
"""Later sentences are ignored, so that a huge prompt costs no more than a long one."""

_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")  # noqa: RUF001 - full-width marks end sentences too
_WORD = re.compile(r"[^\W\d_][\w']{2,}")
_SPEAKER = re.compile(r"^([^\s:]+(?: [^\s:]+)?): +")
"""A turn of a conversation begins with the speaker's name, which is not part of the subject."""
_MIN_TURNS = 3
"""Lines with a speaker that make a text a conversation, if most of its lines are such."""
_STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been but by can could did do does for from had has have
    he her here him his how i i'm if in into is it it's its just like me more my no not now of oh ok okay on one or
    our out please she so some than thank thanks that that's the their them then there they this to up us was we well
    were what when which who will with would yeah yes you your
    """.split()  # noqa: SIM905 - a paragraph reads better than a hundred literals
)
_LAUGHTER = re.compile(r"(?:a?ha|he|lo|hm)+[hlm]*$")
_NO_SUBJECTS = _STOP_WORDS | frozenset(
    """
    able actually again ago agree almost already alright although always amazing answer anymore anyone anything
    anyway around ask asked away awesome back bad before being best better between big bit both called came can't
    cant care chat chitchat come coming cool couldn't cuz day days definitely didn't didnt different doesn't doesnt
    doing don't done dont down each easy either else end enjoy enough even ever every everyone everything exactly
    far favorite favourite feel few find first forward fun funny get gets getting give goes going gonna good got
    gotta great guess guys haha hahah hahaha happen happened happens happy hard haven't having he's hear heard hehe
    hello help hero hey hmm hope hopefully how's huge i'd i'll i've idea idk ill im interesting isn't it'll its ive
    keep kind kinda knew know last later least less let let's lets life like liked little live living lol long look
    looking lot lots love loved made make makes making many may maybe mean means might mine most much must myself
    name need never new next nice nope nothing off often old once only other others over own part people person
    place please point pretty probably question quite read real really remember right said same saw say says see
    seem seems seen she's should shouldn't show since something sometimes soon sorry sort start started still stuff
    such super supposed sure take talk talking tell that'll that've thats themselves there's theres they're theyre
    thing things think though thought through time times today together tomorrow too took totally tried true try
    trying two umm until use used usually very wait wanna want wanted wants was wasn't watch way we'll we're week
    weird welcome went what's whatever whats where while who's whole why without won't wonder wont wouldn't wouldnt
    wow yeah year years yep yesterday yet you'd you'll you're you've youre yourself yup
    """.split()  # noqa: SIM905
)


def summarize(text: str) -> str:
    """
    The most important sentences of *text*, in their own order.

    Of a conversation: what it is about, and its most important turn, as a quotation.
    """
    sentences = _sentences(text)
    speakers = [match[1] if (match := _SPEAKER.match(sentence)) else None for sentence in sentences]
    if sum(speaker is not None for speaker in speakers) >= max(_MIN_TURNS, 0.6 * len(sentences)):
        return _of_conversation(sentences)
    best = _weightiest(_sentences(text, longest=0), N_SENTENCES)
    return " ".join(sentence[:MAX_SENTENCE_CHARS] for sentence in best)


def subjects(text: str, n: int = N_SUBJECTS) -> list[str]:
    """The words that a text is about, as far as their frequency tells it: at most *n*, most frequent first."""
    return _subjects(_sentences(text), n)


def enumeration(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(words[:-1])] if words[:-1] else []), *words[-1:]])


def _of_conversation(sentences: list[str]) -> str:
    about = enumeration(_subjects(sentences, N_SUBJECTS))
    (turn,) = _weightiest(sentences, 1)
    match = _SPEAKER.match(turn)
    said = turn[match.end() :] if match else turn
    beginning = f"They talk about {about}. " if about else ""
    return f'{beginning}{match[1] + ": " if match else ""}"{said[:MAX_SENTENCE_CHARS].strip()}"'


def _subjects(sentences: list[str], n: int) -> list[str]:
    text = "\n".join(_SPEAKER.sub("", sentence) for sentence in sentences).lower()
    counts = Counter(_WORD.findall(text))
    found = [word for word in counts if word not in _NO_SUBJECTS and not _LAUGHTER.match(word)]
    # A word that stands once is a subject only for its length.
    return sorted(found, key=lambda word: (-min(counts[word], 8), -len(word)))[:n]


def _weightiest(sentences: list[str], n: int) -> list[str]:
    """The *n* sentences with the most frequent words, in the order of the text."""
    if len(sentences) <= n:
        return sentences
    words = [set(_WORD.findall(_SPEAKER.sub("", sentence).lower())) - _STOP_WORDS for sentence in sentences]
    weight = Counter[str]()
    for sentence_words in words:
        weight.update(sentence_words)
    # the constant keeps a short sentence of frequent words from winning on its average
    scores = [sum(map(weight.__getitem__, chosen)) / (len(chosen) + 12) for chosen in words]
    best = sorted(range(len(sentences)), key=lambda i: (-scores[i], i))[:n]
    return [sentences[i] for i in sorted(best)]


def _sentences(text: str, longest: int = LONG_LINE_CHARS) -> list[str]:
    """Lines, those with more characters than *longest* split into sentences: a short turn of a talk is one unit."""
    sentences: list[str] = []
    for line in text.split("\n", MAX_SENTENCES_READ)[:MAX_SENTENCES_READ]:
        sentences += _SENTENCE_END.split(line, MAX_SENTENCES_READ) if len(line) > longest else (line,)
    return [sentence for sentence in map(str.strip, sentences[:MAX_SENTENCES_READ]) if sentence]
