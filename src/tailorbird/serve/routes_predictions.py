"""Routes of label and number predictions: decisions, classify, predict, word importance."""

import re
import time
import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tailorbird.records import Neighbour
from tailorbird.serve.completion_responses import usage_of
from tailorbird.serve.error_responses import refuse
from tailorbird.serve.model_registry import Entry, head_of
from tailorbird.serve.request_bodies import (
    ClassifyBody,
    DecisionBody,
    ExplainBody,
    PredicateQuestion,
    PredictBody,
    ScoreQuestion,
    TokensBody,
)
from tailorbird.serve.request_execution import compute, in_queue, registry_of
from tailorbird.serve.served_models import HeadModel

router = APIRouter()
_WORD = re.compile(r"\S+")


def pick_labels(request: Request, name: str | None, *tasks: str) -> tuple[Entry, HeadModel]:
    """Return the run of a name that predicts labels, or the only one served.

    Raises:
        RequestFault: There is none, its task is not one of the route's, or it reads pairs.
    """
    entry, model = registry_of(request).pick(name, head_of, "of labels")
    if model.pairs:
        raise refuse("this run reads pairs of texts: use /predict or /score", "model")
    if model.task not in tasks:
        raise refuse(f"its task is {model.task}; this route answers {', '.join(tasks)}", "model")
    return entry, model


# --- decisions --------------------------------------------------------------------------------


@router.post("/v1/decisions")
async def decide(body: DecisionBody, request: Request) -> Response:
    """Classify a text or a conversation, in the format of OpenAI's decisions.

    The labels are those that the run was trained on; `instructions` have no effect. A `choice`
    returns the likeliest of its choices and the probability of each, given that one of them is
    right. A `predicate` returns the probability of the label that `name` gives. A `score` returns
    the expected level, counted from 0, and the probability of each level. `confidence` is the
    highest of these probabilities. Errors: 400 for a choice, level or predicate that is not a
    label of the run, an empty text, or one longer than the model reads; 404 unknown model; 429
    queue full; 504 not done within `serve.deadline_seconds`.
    """
    entry, model = pick_labels(request, body.model, "classification", "multilabel")
    for question in body.questions:
        _check_question(question, model)
    content = body.input
    text = content if isinstance(content, str) else "\n".join(turn.words for turn in content)
    (answer,), (length,) = await compute(request, entry.queue, [text], model, "input")
    answers = [_decision(question, answer.probabilities) for question in body.questions]
    usage = {
        "input_tokens": length, "output_tokens": 0, "total_tokens": length,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    return JSONResponse({"model": entry.name, "answers": answers, "usage": usage})


def _check_question(question: Any, model: HeadModel) -> None:
    if isinstance(question, PredicateQuestion):
        if question.name not in model.labels:
            raise refuse("a predicate's name must be one of the run's labels", "questions")
        return
    if model.task != "classification":
        raise refuse("a run of several labels answers predicates only", "questions")
    if any(isinstance(label, bool) or label not in model.labels for label in question.labels):
        raise refuse("choices and levels must be the run's labels", "questions")
    if len(set(question.labels)) < len(question.labels):
        raise refuse("each choice or level may occur only once", "questions")


def _decision(question: Any, probabilities: dict[str, float]) -> dict[str, Any]:
    """Return one answer; for a subset of the labels, their probabilities conditional on the subset.

    A score is the expected level, counted from 0.
    """
    if isinstance(question, PredicateQuestion):
        value = probabilities[str(question.name)]
        return {"type": "predicate", "name": question.name, "probability": value}
    labels = question.labels
    total = sum(probabilities[label] for label in labels)
    shares = [probabilities[label] / total if total else 1 / len(labels) for label in labels]
    best = max(range(len(labels)), key=shares.__getitem__)
    answer = {"type": question.type, "name": question.name, "confidence": shares[best]}
    if isinstance(question, ScoreQuestion):
        levels = [
            {"value": i, "label": label, "probability": p}
            for i, (label, p) in enumerate(zip(labels, shares, strict=True))
        ]
        expected = sum(i * p for i, p in enumerate(shares))
        return answer | {"score": expected, "probabilities": levels}
    choices = [{"value": v, "probability": p} for v, p in zip(labels, shares, strict=True)]
    return answer | {"choice": labels[best], "probabilities": choices}


# --- vLLM's, LoRAX' and TEI's -----------------------------------------------------------------


@router.post("/classify")
async def classify(body: ClassifyBody | TokensBody, request: Request) -> Response:
    """Classify texts in vLLM's format (`input`), or the words of a text in LoRAX' (`inputs`).

    For `input`: the likeliest label of each text, and `probs`, the probabilities in the order of
    the run's labels (see `/v1/models`); with several labels per text also `labels`, those above
    their threshold. For `inputs`: the entities, each with its label, mean confidence, text and
    offsets in characters. The errors are those of `/v1/decisions`.
    """
    if isinstance(body, TokensBody):
        entry, model = pick_labels(request, body.model, "tokens")
        (answer,), _ = await compute(request, entry.queue, [body.inputs], model, "inputs")
        return JSONResponse(entities_of(body.inputs, answer))
    entry, model = pick_labels(request, body.model, "classification", "multilabel")
    texts = [body.input] if isinstance(body.input, str) else body.input
    answers, lengths = await compute(request, entry.queue, texts, model, "input")
    data = []
    for index, answer in enumerate(answers):
        probs = [answer.probabilities[label] for label in model.labels]
        best = max(range(len(probs)), key=probs.__getitem__)
        row: dict[str, Any] = {"index": index, "label": model.labels[best], "probs": probs}
        row["num_classes"] = len(probs)
        if model.task == "multilabel":
            row["labels"] = list(answer.labels)
        data.append(row)
    return JSONResponse(
        {
            "id": f"classify-{uuid.uuid4().hex}", "object": "list", "created": int(time.time()),
            "model": entry.name, "data": data, "usage": usage_of(sum(lengths), 0),
        }
    )  # fmt: skip


@router.post("/predict")
async def predict(body: PredictBody, request: Request) -> Response:
    """Predict texts in TEI's format: labels with probabilities, numbers, or entities.

    For each text a list of `label` and `score`, highest score first: the probability of each
    label, or of a regression run the predicted number of each target. A run that labels words
    returns entities as `/classify` does. `"a"` is one text, `["a", "b"]` a pair of texts,
    `[["a"], ["b"]]` a batch, of which the response is a list of lists. Headers give the tokens
    (`x-compute-tokens`) and milliseconds (`x-total-time`). Errors have TEI's format: 400 empty
    input, 422 invalid input or a text longer than the model reads without `truncate`, 404 unknown
    model, 429 queue full, 504 not done within `serve.deadline_seconds`.
    """
    began = time.perf_counter()
    entry, model = registry_of(request).pick(body.model, head_of, "of labels")
    texts, batch = _tei_inputs(body.inputs, model)
    cut = bool(body.truncate)
    answers, lengths = await compute(request, entry.queue, texts, model, "inputs", cut=cut)
    rows = [_tei_row(text, answer) for text, answer in zip(texts, answers, strict=True)]
    headers = {
        "x-compute-tokens": str(sum(lengths)),
        "x-total-time": str(int(1000 * (time.perf_counter() - began))),
    }
    return JSONResponse(rows if batch else rows[0], headers=headers)


def _tei_inputs(content: Any, model: HeadModel) -> tuple[list[Any], bool]:
    """Return texts or pairs, and whether they form a batch."""
    batch = isinstance(content, list) and bool(content) and isinstance(content[0], list)
    if isinstance(content, list) and not content:
        raise refuse("give at least one text", "inputs", "empty")
    items = [[content]] if isinstance(content, str) else content if batch else [content]
    width = 2 if model.pairs else 1
    if any(len(item) != width for item in items):
        reads = "pairs of texts" if model.pairs else "single texts"
        raise refuse(f"this run reads {reads}; a batch is [[...], [...]]", "inputs")
    return [tuple(item) if model.pairs else item[0] for item in items], batch


def _tei_row(text: Any, answer: Any) -> list[dict[str, Any]]:
    if hasattr(answer, "words"):
        return entities_of(text, answer)
    scores = answer.values if hasattr(answer, "values") else answer.probabilities
    ordered = sorted(scores.items(), key=lambda pair: -pair[1])
    return [{"score": value, "label": label} for label, value in ordered]


# --- why --------------------------------------------------------------------------------------


@router.post("/v1/explain")
async def explain(body: ExplainBody, request: Request) -> Response:
    """Measure how much each word of a text contributes to a label.

    The `effect` of a word is the label's probability for the whole text minus that for the text
    without the word (occlusion: Zeiler and Fergus, 2014, section 4). Of texts with more than
    `max_words` words, neighbouring words are removed together. `label` is the likeliest one by
    default. Also returns the probabilities of all labels and, if a retrieval arm is available, the
    nearest training examples as `neighbours`, with cosine similarities. The errors are those of
    `/v1/decisions`, but a text longer than the model reads is truncated.
    """
    entry, model = pick_labels(request, body.model, "classification", "multilabel")
    if body.label is not None and body.label not in model.labels:
        raise refuse("this is not a label of the run", "label")
    most = min(body.max_words, registry_of(request).limits.request_inputs - 1)
    spans = word_spans(body.input, most)
    without = [body.input[:a] + body.input[b:] for a, b in spans]
    usable = [i for i, text in enumerate(without) if text.strip()]
    texts = [body.input, *(without[i] for i in usable)]
    answers, _ = await compute(request, entry.queue, texts, model, "input", cut=True)
    probabilities = answers[0].probabilities
    label = body.label or max(probabilities, key=probabilities.__getitem__)
    whole = probabilities[label]
    effects = dict.fromkeys(range(len(spans)), 0.0)
    effects |= {
        i: whole - answer.probabilities[label]
        for i, answer in zip(usable, answers[1:], strict=True)
    }
    words = [
        {"start": a, "end": b, "text": body.input[a:b], "effect": effects[i]}
        for i, (a, b) in enumerate(spans)
    ]
    near = [
        {"text": n.text, "label": n.label, "similarity": n.similarity}
        for n in await _neighbours(request, entry, model, body.input, answers[0])
    ]
    return JSONResponse(
        {
            "model": entry.name, "label": label, "probability": whole,
            "probabilities": probabilities, "words": words, "neighbours": near,
        }
    )  # fmt: skip


async def _neighbours(
    request: Request, entry: Entry, model: HeadModel, text: str, answer: Any
) -> Sequence[Neighbour]:
    """Return the training examples nearest to a text: this arm's voters, or another arm's."""
    own: Sequence[Neighbour] = getattr(answer, "neighbours", ())
    if own or entry.near is None:
        return own
    examples: Sequence[Neighbour]
    length = min(model.count(text), model.longest)
    (examples,) = await in_queue(request, entry.near, [text], [length])
    return examples


# --- positions of words ---------------------------------------------------------------------


def word_spans(text: str, most: int) -> list[tuple[int, int]]:
    """Return the spans of a text's words, or of at most `most` groups of neighbouring words.

    >>> word_spans("a big  dog", 8)
    [(0, 1), (2, 5), (7, 10)]
    >>> word_spans("a big  dog", 2)
    [(0, 5), (7, 10)]
    """
    places = [match.span() for match in _WORD.finditer(text)]
    size = max(1, -(-len(places) // most))
    groups = [places[i : i + size] for i in range(0, len(places), size)]
    return [(group[0][0], group[-1][1]) for group in groups]


def entities_of(text: str, answer: Any) -> list[dict[str, Any]]:
    """Return the entities of a token-classification run, in the format of Hugging Face's pipeline.

    Args:
        text: The original text; its words are separated by whitespace.
        answer: A `Tagged`. If its labels mark no entities, every word is one.
    """
    places = [match.span() for match in _WORD.finditer(text)]
    rows: list[tuple[str, int, int]] = [
        (str(e["type"]), int(e["first"]), int(e["last"])) for e in answer.entities
    ]
    marked = any(label == "O" or label[:2] in ("B-", "I-") for label in answer.labels)
    if not rows and not marked:
        rows = [(label, i, i) for i, label in enumerate(answer.labels)]
    entities = []
    for kind, first, last in rows:
        start, end = places[first][0], places[last][1]
        scores = answer.confidences[first : last + 1]
        entities.append(
            {
                "entity_group": kind, "score": sum(scores) / len(scores), "word": text[start:end],
                "start": start, "end": end,
            }
        )  # fmt: skip
    return entities
