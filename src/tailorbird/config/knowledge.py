"""Settings of knowledge bases: index, retrieve, ask."""

from typing import Literal

from pydantic import Field

from tailorbird.config.section import Section


class IndexConfig(Section):
    """How documents become chunks of a knowledge base."""

    embedder: str = "builtin:minilm"
    """Model that embeds chunks and questions: a sentence-transformers folder or id."""
    chunk_tokens: int | None = Field(None, ge=16)
    """Longest chunk in the embedder's tokens, title and headings included; default: 256, or what
    the embedder reads when that is less."""
    overlap_tokens: int = Field(32, ge=0)
    """Tokens that a chunk repeats of the one before it."""
    include: tuple[str, ...] = ()
    """Globs of the files to take from folders; default: all. Those that cannot be read are named
    with the reason."""
    exclude: tuple[str, ...] = ()
    """Globs of files and folders to leave out, besides hidden ones and those that .gitignore and
    .tailorignore name."""
    text: str | None = None
    """CSV, JSONL: column with the text; guessed when clear."""
    title: str | None = None
    """CSV, JSONL: column with the title; guessed when clear."""
    id: str | None = None
    """CSV, JSONL: column that a row is known by; guessed when clear, else the row's number."""
    seconds_per_file: float = Field(60.0, gt=0)
    """A file that takes longer to read is skipped, with that as its reason."""
    max_file_mb: float = Field(200.0, gt=0)
    """Larger files are skipped, with that as their reason."""
    workers: int | None = Field(None, ge=1)
    """Processes that read files; default: one per core, at most four."""
    worker_memory_mb: float = Field(2048.0, ge=256)
    """Memory (address space) that each of them may use; a file that needs more is skipped, with
    that as its reason."""


class RetrieveConfig(Section):
    """How chunks are found for a question."""

    k: int = Field(5, ge=1)
    """Passages returned."""
    candidates: int = Field(100, ge=1)
    """Chunks that each side finds before fusion."""
    mode: Literal["hybrid", "dense", "words"] = "hybrid"
    """dense: by meaning; words: BM25 over stemmed words; hybrid: both, fused."""
    fusion: Literal["convex", "rrf"] = "convex"
    """convex: weighted sum of scaled scores; rrf: reciprocal ranks."""
    weight: float | None = Field(None, ge=0, le=1)
    """Weight of the dense side; default: chosen on judged queries by `tailor evaluate --store`,
    else 0.5."""
    reranker: str | None = None
    """Cross-encoder (folder or id) that ranks the best candidates again."""
    rerank: int = Field(30, ge=1)
    """Chunks the reranker reads."""
    diversity: float = Field(0.0, ge=0, lt=1)
    """Share of maximal marginal relevance given to being unlike what was taken already."""
    neighbours: int = Field(1, ge=0)
    """Chunks before and after a hit that are joined to its passage."""


class AskConfig(Section):
    """How a question is answered from what was found."""

    model: str | None = None
    """Run folder, local model or id that writes the answer; default: none, sentences are
    quoted."""
    endpoint: str | None = None
    """URL of an OpenAI-compatible server that writes the answer."""
    endpoint_model: str | None = None
    """Model's name at the endpoint; default: the first it lists."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable with the endpoint's key."""
    timeout_seconds: float = Field(60.0, gt=0)
    """How long to wait for the endpoint."""
    sentences: int = Field(3, ge=1)
    """Without a model: most sentences quoted."""
    support: float = Field(0.6, ge=0, le=1)
    """Least share of a sentence's content words that its cited passage must hold."""
    threshold: float | None = None
    """Below this score of the best passage the answer is "I don't know"; default: calibrated on
    judged queries by `tailor evaluate --store`, else a cautious one."""
