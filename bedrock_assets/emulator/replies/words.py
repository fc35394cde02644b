"""Lists of words: what a text is likely to be about, and whether it is pleased, as far as single words tell."""

import re

NEGATIONS = frozenset(
    """
    can't cannot couldn't didn't doesn't don't hardly isn't never no not wasn't without won't
    """.split()  # noqa: SIM905 - a paragraph reads better than a hundred literals
)
PLEASED = frozenset(
    """
    amazed amazing awesome beautiful best brilliant comfortable delicious delighted easy enjoy enjoyed enjoying
    excellent excited exciting fantastic fast favorite favourite friendly fun funny glad good gorgeous grateful
    great happy helpful impressed interesting liked love loved lovely loves lucky nice perfect perfectly pleasant
    pleased pretty proud quick recommend reliable satisfied smooth solid super superb sweet wonderful works worth
    wow yay
    """.split()  # noqa: SIM905
)
DISPLEASED = frozenset(
    """
    afraid angry annoyed annoying awful bad badly boring broke broken cancel complain complaint confused confusing
    cracked crap cry damaged dead death defective delay delayed depressed depressing died dies difficult dirty
    disappointed disappointing disappointment error expensive fail failed fails failure fake faulty frustrated
    frustrating hate hated hates horrible hurt hurts ill issue issues late lonely lost mad mess missing mistake
    nervous noisy overpriced pain poor poorly problem problems refund refused return returned rude sad scared scary
    scratched sick slow sorry stolen stopped stress stressed stressful stuck stupid suck sucks terrible tired tough
    ugly unable unfortunately unhappy upset useless wait waiting waste worn worried worse worst wrong
    """.split()  # noqa: SIM905
)
_ABOUT = """
    billing payment invoice: bill billed card charge charged charges credit fee fees invoice paid pay payment
    delivery shipping logistics: arrive arrived courier deliver delivered delivery late package parcel post shipment
        shipped shipping tracking
    quality product defect: beautiful bright broke broken build cheap design looks cracked defective durable
        material plastic quality scratched sturdy worn
    price cost value: cheap cost costs expensive money overpriced price priced value worth
    service support: agent call called email helpful phone reply replied response rude service staff support
    technical bug software: app bug bugs computer crash crashed crashes error install login password screen software
        update website
    return refund: exchange money refund refunded return returned returning
    work job career: boss business career colleague company coworkers employee hired interview job jobs manager
        office salary shift work worked working
    school study education: algebra assignment campus chemistry class classes college degree exam exams final finals
        freshman grade grades graduate homework lecture major math professor school semester student study studying
        teacher test tests university
    family: aunt babies baby brother brothers cousin dad daughter family father grandma grandpa husband kid kids
        married marriage mom mother nephew niece parents sibling siblings sister sisters son uncle wife wedding
    friends relationships dating: boyfriend crush date dated dating friend friends girlfriend relationship roommate
        roommates
    hobbies music sports games: anime art band baking basketball book books climbing concert cooking dance dancing
        draw drawing fishing football game games guitar gym hike hiking hobbies hobby instrument knitting movie
        movies music netflix paint painting photography piano play played playing player reading run running show
        shows sing singing ski skiing soccer song songs sport sports swim swimming team tennis video volleyball
    travel: airport beach country europe flight flights hotel island mexico mission travel traveled traveling
        travelling trip trips vacation visit visited
    food: bake bread breakfast burger cake candy cheese chicken chocolate cook cookies dinner eat eating food fruit
        ice lunch meal pasta pizza restaurant rice salad sushi taco tacos
    opinions politics beliefs: agree argue belief believe church disagree faith god government law moral opinion
        opinions political politics president religion rights society vote
    question: ? how what when where which who why
    small talk: bye chilling hello hey hi morning night sup weather weekend
"""
"""On each line words of labels, and the words of a text that speak for them."""


def _cues() -> dict[str, frozenset[str]]:
    """Words of a text by the word of a label for which they speak."""
    found: dict[str, frozenset[str]] = {}
    for line in re.split(r"\n {4}(?! )", _ABOUT):
        names, _, words = line.partition(":")
        found |= dict.fromkeys(names.split(), frozenset(words.split()))
    found |= dict.fromkeys(("positive", "praise", "compliment", "satisfied", "happy", "good"), PLEASED)
    return found | dict.fromkeys(("negative", "complaint", "dissatisfied", "unhappy", "angry", "bad"), DISPLEASED)


CUES = _cues()
