"""Documents, fine-tuning, or both, on TimeQA and XQuAD; what its score and batches are worth.

`--part compare` runs `tailor compare` on both sets and prints, per arm, right answers with their
interval, what is left after the change, and costs. `--part speed` answers questions with passages
in batches and one by one with transformers' generate, and prints both rates. `--part human` reads a
file of answers with people's verdicts (EVOUNA's NQ.json or TQ.json, arXiv 2305.12421, from
github.com/wangcunxiang/QA-Eval: --human FILE) and prints, per metric, Kendall's tau of the order of
the systems with the people's, and how often it agrees with them; and how many answers become right
by three random candidates at their end. `--part substitutions` prints exchanged answers with what
stands around them, to look at.
"""

import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import DATA, data_file, emit, parser, say, stop, tailor

PARTS = ("compare", "speed", "human", "substitutions")
SYSTEMS = ("fid", "gpt35", "chatgpt", "gpt4", "newbing")


def main() -> None:
    """Run the parts that are asked for."""
    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA)
    asked.add_argument("--part", action="append", choices=PARTS)
    asked.add_argument("--human", type=Path, help="EVOUNA's NQ.json or TQ.json")
    asked.add_argument("--model", default="builtin:smollm2")
    asked.add_argument("--questions", type=int, default=32, help="of --part speed")
    asked.add_argument("--sample", type=int, default=100, help="of --part substitutions, a set")
    asked.add_argument("--set", action="append", default=[], dest="settings", help="as for tailor")
    given = asked.parse_args()
    parts = given.part or (["human"] if given.human else ["compare", "speed"])
    if "compare" in parts:
        compare_sets(given)
    if "speed" in parts:
        measure_speed(given)
    if "substitutions" in parts:
        show_substitutions(given)
    if "human" in parts:
        if given.human is None or not given.human.is_file():
            stop("no verdicts of people", "give --human NQ.json, from the repository QA-Eval")
        judge_metrics(given.human)


def compare_sets(given: Any) -> None:
    """Compare every arm on both sets."""
    sets = [word for setting in given.settings for word in ("--set", setting)]
    named = {
        "timeqa": ("timeqa/questions.jsonl", "timeqa/documents.jsonl"),
        "xquad": ("xquad/xquad.en.json", "xquad/xquad.en.json"),
    }
    for name, files in named.items():
        questions, documents = (str(data_file(given.data, file)) for file in files)
        with tempfile.TemporaryDirectory() as place:
            told = tailor(
                "compare", questions, "--documents", documents, "--model", given.model,
                "--output", f"{place}/run", "--json", *sets,
            )  # fmt: skip
        report = json.loads(told)
        emit(f"questions {name}", summary(report))


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Return what is claimed of a report."""
    arms = {
        arm["name"]: {
            "right": interval(arm["scores"][report["headline"]]),
            "changed": arm["change"]
            and {part: interval(arm["change"][part]) for part in ("before", "current", "stale")},
            "control": arm["change"] and arm["change"]["control"]["value"],
            "train_seconds": arm["cost"]["train_seconds"],
            "seconds_per_1000": round(arm["cost"]["answer_seconds"], 1),
        }
        for arm in report["arms"]
        if arm["status"] == "ok"
    }
    hits = {name: interval(score) for name, score in report["hits"].items()}
    tests = {f"{t['a']} - {t['b']}": interval(t["difference"]) for t in report["comparisons"]}
    return {
        "counts": report["counts"], "arms": arms, "hits": hits, "differences": tests,
        "recommended": report["verdict"]["recommended"], "seconds": report["seconds"],
    }  # fmt: skip


def interval(score: dict[str, float]) -> list[float]:
    """Return value, low and high."""
    return [round(score[part], 4) for part in ("value", "low", "high")]


def measure_speed(given: Any) -> None:
    """Answer the same questions with their paragraphs in batches, and one by one."""
    import torch

    from tailorbird.arms.question_arms.prompts import conversation
    from tailorbird.arms.question_arms.records import Item, PromptPassage
    from tailorbird.config import load_config
    from tailorbird.data.encode_chat import encode_prompts
    from tailorbird.data.questions import read_answers, read_paragraphs
    from tailorbird.models.device import choose
    from tailorbird.models.generate import Sampling, generate
    from tailorbird.tasks.base_model import make_base

    file = data_file(given.data, "xquad/xquad.en.json")
    texts = {p.id: PromptPassage(p.id, p.title, p.text) for p in read_paragraphs(file)}
    questions = read_answers(file)[:: max(1, 1190 // given.questions)][: given.questions]
    base = make_base(load_config(flags={"model.name": given.model}), choose(), None)
    asked = [
        conversation(Item(q.id, q.text, q.answers, True), [texts[min(q.judged)]]) for q in questions
    ]
    ids = encode_prompts(asked, base.tokenizer)
    ends = base.model.generation_config.eos_token_id
    sampling = Sampling(32, end_ids=tuple([ends] if isinstance(ends, int) else ends))
    started = time.perf_counter()
    generate(base.model, base.tokenizer, ids, sampling, base.device)
    batched = len(ids) / (time.perf_counter() - started)
    say(f"batched: {batched:.3f} questions a second")
    started = time.perf_counter()
    for row in ids:
        one = torch.from_numpy(row.astype("int64"))[None].to(base.device.name)
        with torch.no_grad(), base.device.autocast():
            base.model.generate(
                input_ids=one, attention_mask=torch.ones_like(one), max_new_tokens=32,
                do_sample=False, use_cache=True,
            )  # fmt: skip
    single = len(ids) / (time.perf_counter() - started)
    rates = {"batched_per_second": round(batched, 3), "one_by_one_per_second": round(single, 3)}
    emit("questions speed", rates | {"ratio": round(batched / single, 2), "questions": len(ids)})


def show_substitutions(given: Any) -> None:
    """Print exchanged answers of both sets, each with its question and the words around it."""
    from tailorbird.data.questions import read_answers, read_paragraphs
    from tailorbird.knowledge.embedders import load_embedder
    from tailorbird.rag.entity_substitution import choose_substitutions, substituted

    embedder = load_embedder("builtin:minilm")
    rows = data_file(given.data, "timeqa/documents.jsonl").read_text().splitlines()
    articles = {row["id"]: row["text"] for row in map(json.loads, rows)}
    squad = data_file(given.data, "xquad/xquad.en.json")
    paragraphs = {p.id: p.text for p in read_paragraphs(squad)}
    timeqa = data_file(given.data, "timeqa/questions.jsonl")
    for file, texts in ((timeqa, articles), (squad, paragraphs)):
        questions = read_answers(file)
        sources = {q.id: min(q.judged, default="") for q in questions}
        changes = choose_substitutions(
            questions, sources, texts, questions, given.sample,
            embed=lambda names: embedder.embed_documents(names).vectors,
        )  # fmt: skip
        asked = {q.id: q.text for q in questions}
        for change in changes:
            mine = [other for other in changes if other.source == change.source]
            text = " ".join(substituted(texts[change.source], mine).split())
            at = max(0, text.find(change.new) - 90)
            say(f"{asked[change.id]}\n  {' | '.join(change.old)} -> {change.new} ({change.places})")
            say(f"  ... {text[at : at + 180 + len(change.new)]} ...")
        emit(f"questions substitutions {file.name}", {"changes": len(changes)})


def judge_metrics(path: Path) -> None:
    """Set metrics beside people's verdicts."""
    from scipy.stats import kendalltau

    from tailorbird.metrics.answer_match import Candidates, answer_match
    from tailorbird.metrics.text import exact_match, normalise, token_f1

    rows = [row for row in json.loads(path.read_text()) if not row["improper"]]
    golds = [row["golden_answer"].split("/") for row in rows]
    pool = [answer for answers in golds for answer in answers]
    candidates = Candidates.of(pool)
    metrics = {
        "exact_match": lambda out, gold, _: max(exact_match(out, g) for g in gold) > 0,
        "token_f1 >= .5": lambda out, gold, _: max(token_f1(out, g) for g in gold) >= 0.5,
        "contained": lambda out, gold, _: any(normalise(g) in normalise(out) for g in gold),
        "answer_match": lambda out, gold, asked: answer_match(
            out, gold, asked, candidates=candidates
        ),
    }
    people = {s: [bool(row[f"judge_{s}"]) for row in rows] for s in SYSTEMS}
    rates = [sum(people[s]) for s in SYSTEMS]
    result: dict[str, Any] = {"questions": len(rows), "file": path.name}
    for name, metric in metrics.items():
        marks = {
            s: [
                metric(row[f"answer_{s}"] or "", gold, row["question"])
                for row, gold in zip(rows, golds, strict=True)
            ]
            for s in SYSTEMS
        }
        agree = [
            sum(a == b for a, b in zip(marks[s], people[s], strict=True)) / len(rows)
            for s in SYSTEMS
        ]
        tau = kendalltau([sum(marks[s]) for s in SYSTEMS], rates).statistic
        result[name] = {"kendall": round(float(tau), 2), "agreement": [round(a, 3) for a in agree]}
    result["raised by three random candidates"] = raised(rows, golds, pool, candidates)
    emit("questions human", result)


def raised(rows: list[Any], golds: list[list[str]], pool: list[str], candidates: Any) -> int:
    """Return how many answers became right by three random candidates at their end."""
    from tailorbird.metrics.answer_match import answer_match

    rng, count = random.Random(1), 0
    for row, gold in zip(rows, golds, strict=True):
        out, asked = row["answer_fid"] or "", row["question"]
        longer = f"{out} {', '.join(rng.sample(pool, 3))}"
        before = answer_match(out, gold, asked, candidates=candidates)
        count += answer_match(longer, gold, asked, candidates=candidates) > before
    return count


if __name__ == "__main__":
    main()
