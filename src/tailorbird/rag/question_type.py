"""What kind of answer a question asks for, and which sentences are of that kind."""

import re
from typing import Literal

from tailorbird.rag.words import content_words, tokens

Wanted = Literal["steps", "definition", "other"]

_STEPS = re.compile(
    r"\bhow (?:do|can|could|should|would|does|to|must|might)\b"
    r"|\bwhat (?:should|can|could|must|do|shall) (?:i|we|you|one)\b|\bwhat now\b|\bwhat instead\b"
    r"|\b(?:example|snippet|command|syntax|code) (?:for|of|to|that)\b|\bway to\b",
    re.I,
)
_DEFINITION = re.compile(
    r"^\W*(?:(?:what|who)(?:'s|\u2019s| is| are| was| were)\b(?! the (?:matter|problem))"
    r"|what (?:does|do) .+ (?:mean|stand for)\b|define\b|explain\b)",
    re.I,
)
_ASKING = re.compile(
    r"^\W*(?:(?:what|who)(?:'s|\u2019s| is| are| was| were)|what (?:does|do)|define|explain)\b"
    r"|\b(?:mean|stand for|exactly|really)\W*$",
    re.I,
)
# A verb that opens an instruction: "Use ...", "To ..., call ...", "you can pass ...".
_VERBS = (
    r"(?:add|allow|append|apply|ask|assign|avoid|begin|build|call|catch|change|check|choose|click"
    r"|close|combine|compare|configure|convert|copy|count|create|decide|declare|define|delete"
    r"|disable|download|edit|enable|ensure|enter|execute|export|find|follow|format|give|go|import"
    r"|include|increase|initialize|insert|install|join|keep|leave|let|list|load|look|lower|make|merge"
    r"|move|name|open|pass|pick|place|prepare|press|print|provide|push|put|raise|read|reduce"
    r"|register|reload|remove|rename|replace|restart|return|run|save|search|see|select|set|show"
    r"|specify|split|start|stop|store|supply|switch|take|target|test|train|try|turn|type|unload"
    r"|unpack|unmerge|update|upgrade|use|utilize|verify|wait|wrap|write)"
)
_ORDERS = rf"(?:{_VERBS}\b|do not\b|don['\u2019]t\b|never\b)"
_BEFORE_ORDERS = (
    r"(?:(?:first|then|next|now|instead|finally|alternatively|please|simply|just|always|otherwise"
    r"|also|for \w+)[,:]?\s+)"
)
_TELLS = re.compile(
    rf"^\W*{_BEFORE_ORDERS}*+(?:(?:to|if|when|before|after|in order to)\b[^,.:;]*?(?:[,:]\s*+|\s)"
    rf"{_BEFORE_ORDERS}{{0,2}})?{_ORDERS}"
    rf"|\byou (?:can|could|should|must|have to|need to|may|might|will need to|['\u2019]ll need to)"
    rf"(?: (?:also|simply|just|first|then|always|easily))? (?:{_VERBS}|do)\b"
    rf"|[,;:] (?:then )?{_VERBS}\b|\bway (?:to|of|is)\b|\bis to {_VERBS}\b|\brecommended to\b",
    re.I,
)
# What it speaks of stands in another sentence.
_LEANS = re.compile(
    r"(?:it|its|this|that|these|those|they|them|he|she|his|her|their|otherwise|so|then|there|but"
    r"|however|therefore|thus|hence|instead|also|both|such|and|similarly|likewise|moreover"
    r"|furthermore|additionally|for (?:example|instance)|as (?:an example|a result|such)"
    r"|in (?:this|that|these|those|such) \w+|(?:the )?(?:former|latter|same))\b"
    r"(?!\s+(?:is|are)\s+no)",
    re.I,
)
_POINTS = re.compile(
    r"\b(?:the following|as follows|(?:shown|given|described|listed|seen|mentioned|explained)"
    r" (?:above|below|earlier|before|here)|(?:the|in|with|an?) (?:above|below)\b|(?:example|"
    r"snippets?|code|table|figure|list|diagram|section) (?:above|below)|below (?:is|are)\b"
    r"|here(?:['\u2019]s| is| are)\b|let['\u2019]s\b|we['\u2019]ll\b|in this (?:guide|section"
    r"|tutorial|example|page|document|chapter)|(?:this|the) (?:guide|section|tutorial|page"
    r"|document|chapter) (?:shows|describes|explains|covers|will)|take a look|refer to"
    r"|see (?:the|also|this)|check out|for more (?:details|information))",
    re.I,
)
_IS = re.compile(
    r"\b(?:(?:is|are|was|were) (?:simply |just |basically )?(?:an?|the|one|what|used|designed)"
    r"|means?|refers? to|stands? for|denotes?|describes?)\b",
    re.I,
)
_SHORTEST = 4
_LONGEST_SUBJECT = 14


def wanted(question: str) -> Wanted:
    """Return what a question asks for: steps to take, what something is, or anything else."""
    if _STEPS.search(question):
        return "steps"
    return "definition" if _DEFINITION.search(question) else "other"


def tells(sentence: str) -> bool:
    """Say whether a sentence tells what to do."""
    return _TELLS.search(sentence) is not None


def leans(sentence: str) -> bool:
    """Say whether a sentence begins with what stands for something said before it."""
    return _LEANS.match(sentence) is not None


def dependence(sentence: str, *, opens: bool) -> float:
    """Return from 0 to 1 how little a sentence says by itself.

    Args:
        sentence: As it is read.
        opens: It is the first under its heading, which then is what it speaks of.
    """
    found = 0.0
    if leans(sentence):
        found = 0.3 if opens else 1.0
    if _POINTS.search(sentence):
        found = max(found, 0.7)
    if sentence.rstrip().endswith("?"):
        found = max(found, 0.7)
    return max(found, 0.7) if len(tokens(sentence)) < _SHORTEST else found


def subject(question: str) -> set[str]:
    """Return the stems of what a question for a definition asks about."""
    return _meant(_ASKING.sub(" ", question))


def defines(sentence: str, about: set[str], heading: str = "", place: int = 9) -> float:
    """Return from 0 to 1 how likely a sentence says what its subject is.

    Args:
        sentence: As it is read.
        about: Stems of the subject that is asked for.
        heading: What it stands under.
        place: How many sentences stand between it and its heading.
    """
    if not about:
        return 0.0
    verb = _IS.search(sentence)
    if verb is not None:
        before = sentence[: verb.start()]
        if len(before.split()) <= _LONGEST_SUBJECT and about <= _meant(before):
            # "X is a good choice when:" is no definition.
            return 0.3 if sentence.rstrip().endswith(":") else 1.0
    if _opens_with(sentence.split(), about):
        return 0.6
    # Under a heading that names the subject, the first sentences say what it is.
    return max(0.0, 0.6 - 0.15 * place) if about <= _meant(heading) else 0.0


def _opens_with(words: list[str], about: set[str]) -> bool:
    """Say whether a sentence begins with its subject and goes on about it: "LoRA adds ..."."""
    for count in range(1, min(len(words), len(about) + 3)):
        if about <= _meant(" ".join(words[:count])):
            # "`KeyError: 'a'` and ..." speaks of a message, not of what it is.
            return words[count - 1][-1].isalnum() and words[count].isalpha()
    return False


def _meant(text: str) -> set[str]:
    return {*content_words(text), *(word for word in tokens(text) if word[0].isdigit())}
