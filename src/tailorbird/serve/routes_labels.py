"""Routes of label and number predictions: decisions, classify, predict, word importance."""

import re
import time
import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tailorbird.records import Neighbour
from tailorbird.serve.app import registry_of, unless_disconnected
from tailorbird.serve.completions import usage_of
from tailorbird.serve.error_responses import refuse
from tailorbird.serve.model_registry import Entry, head_of
from tailorbird.serve.models import HeadModel
from tailorbird.serve.request_bodies import (
    ChoiceQuestion,
    ClassifyBody,
    DecisionBody,
    ExplainBody,
    PredicateQuestion,
    PredictBody,
    ScoreQuestion,
    TokensBody,
)
from tailorbird.serve.routes_openai import measure

router = APIRouter()
_WORD = re.compile(r"\S+")


async def answers_of(
    request: Request, entry: Entry, model: HeadModel, texts: Sequence[Any], param: str,
    cut: bool = False,
) -> tuple[list[Any], list[int]]:  # fmt: skip
    """Return a model's predictions for texts, and their lengths in tokens."""
    registry = registry_of(request)
    assert entry.queue is not None
    entry.queue.check_capacity(len(texts))
    lengths = measure(texts, model, registry, param, cut)
    seconds = registry.limits.deadline_seconds
    return await unless_disconnected(request, entry.queue.run(texts, lengths, seconds)), lengths


def need_labels(model: HeadModel, tasks: Sequence[str], param: str = "model") -> None:
    """Refuse models of other tasks than the route's, and models on pairs."""
    if model.pairs:
        raise refuse("this run reads pairs of texts: use /predict or /score", param)
    if model.task not in tasks:
        raise refuse(f"its task is {model.task}; this route answers {', '.join(tasks)}", param)


# --- decisions --------------------------------------------------------------------------------


@router.post("/v1/decisions")
async def decide(body: DecisionBody, request: Request) -> Response:
    """Answer questions by a trained head: `instructions` are not read, the labels are its own."""
    entry, model = registry_of(request).pick(body.model, head_of, "of labels")
    need_labels(model, ("classification", "multilabel"))
    for question in body.questions:
        _check_question(question, model)
    content = body.input
    text = content if isinstance(content, str) else "\n".join(turn.words for turn in content)
    (answer,), (length,) = await answers_of(request, entry, model, [text], "input")
    answers = [_decision(question, answer.probabilities, model) for question in body.questions]
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
    if isinstance(question, ChoiceQuestion):
        values: list[Any] = [choice.value for choice in question.choices]
    else:
        values = [level.label for level in question.levels]
    if any(isinstance(v, bool) or v not in model.labels for v in values):
        raise refuse("choices and levels must be the run's labels", "questions")
    if len(set(values)) < len(values):
        raise refuse("each choice or level may occur only once", "questions")


def _decision(question: Any, probabilities: dict[str, float], model: HeadModel) -> dict[str, Any]:
    """Return one answer; for a subset of the labels, their probabilities conditional on the subset.

    A score is the expected level, counted from 0.
    """
    if isinstance(question, PredicateQuestion):
        value = probabilities[str(question.name)]
        return {"type": "predicate", "name": question.name, "probability": value}
    scale = isinstance(question, ScoreQuestion)
    names = (
        [level.label for level in question.levels]
        if scale
        else [choice.value for choice in question.choices]
    )
    total = sum(probabilities[name] for name in names)
    shares = [probabilities[name] / total if total else 1 / len(names) for name in names]
    best = max(range(len(names)), key=shares.__getitem__)
    if scale:
        rows: list[dict[str, Any]] = [
            {"value": i, "label": name, "probability": p}
            for i, (name, p) in enumerate(zip(names, shares, strict=True))
        ]
        score = sum(i * p for i, p in enumerate(shares))
        return {
            "type": "score", "name": question.name, "score": score, "probabilities": rows,
            "confidence": shares[best],
        }  # fmt: skip
    rows = [{"value": n, "probability": p} for n, p in zip(names, shares, strict=True)]
    return {
        "type": "choice", "name": question.name, "choice": names[best], "probabilities": rows,
        "confidence": shares[best],
    }  # fmt: skip


# --- vLLM's, LoRAX' and TEI's -----------------------------------------------------------------


@router.post("/classify")
async def classify(body: ClassifyBody | TokensBody, request: Request) -> Response:
    """Label texts (`input`), or the words of one (`inputs`)."""
    registry = registry_of(request)
    entry, model = registry.pick(body.model, head_of, "of labels")
    if isinstance(body, TokensBody):
        need_labels(model, ("tokens",))
        (answer,), _ = await answers_of(request, entry, model, [body.inputs], "inputs")
        return JSONResponse(entities_of(body.inputs, answer))
    need_labels(model, ("classification", "multilabel"))
    texts = [body.input] if isinstance(body.input, str) else body.input
    answers, lengths = await answers_of(request, entry, model, texts, "input")
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
    """Score every label of texts, the likeliest first; of numbers the values, of words entities."""
    began = time.perf_counter()
    entry, model = registry_of(request).pick(body.model, head_of, "of labels")
    texts, batch = _tei_inputs(body.inputs, model)
    answers, lengths = await answers_of(
        request, entry, model, texts, "inputs", cut=bool(body.truncate)
    )
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
    """Say how much each word speaks for a label: by how much less likely it is without the word.

    Occlusion (Zeiler and Fergus, 2014, section 4), one text per word in the same batches as other
    requests; of longer texts neighbouring words are left out together.
    """
    registry = registry_of(request)
    entry, model = registry.pick(body.model, head_of, "of labels")
    need_labels(model, ("classification", "multilabel"))
    most = min(body.max_words, registry.limits.request_inputs - 1)
    spans = word_spans(body.input, most)
    without = [body.input[:a] + body.input[b:] for a, b in spans]
    usable = [i for i, text in enumerate(without) if text.strip()]
    texts = [body.input, *(without[i] for i in usable)]
    answers, _ = await answers_of(request, entry, model, texts, "input", cut=True)
    label = _explained(body.label, model, answers[0])
    whole = answers[0].probabilities[label]
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
            "probabilities": answers[0].probabilities, "words": words, "neighbours": near,
        }
    )  # fmt: skip


async def _neighbours(
    request: Request, entry: Entry, model: HeadModel, text: str, answer: Any
) -> Sequence[Neighbour]:
    """Return the training examples nearest to a text: this arm's voters, or another arm's."""
    own: Sequence[Neighbour] = getattr(answer, "neighbours", ())
    if own or entry.near is None:
        return own
    seconds = registry_of(request).limits.deadline_seconds
    work = entry.near.run([text], [min(model.count(text), model.longest)], seconds)
    (near,) = await unless_disconnected(request, work)
    examples: Sequence[Neighbour] = near
    return examples


def _explained(label: str | None, model: HeadModel, answer: Any) -> str:
    if label is None:
        probabilities: dict[str, float] = answer.probabilities
        return max(probabilities, key=probabilities.__getitem__)
    if label not in model.labels:
        raise refuse("this is not a label of the run", "label")
    return label


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
