"""Settings of knowledge bases: index, retrieve, ask, tune the retriever."""

from typing import Literal

from pydantic import Field, field_serializer

from tailorbird.config.section import Section
from tailorbird.terminal import without_credentials


class KnowledgeConfig(Section):
    """Where a knowledge base lies."""

    store: str | None = None
    """`files`: in its own folder; `lancedb`: the same in LanceDB's tables, as before;
    `postgresql://USER@HOST:PORT/DATABASE?schema=NAME`: on a server that several hosts write. The
    default: what the knowledge base has, files for a new one."""

    @field_serializer("store", when_used="json")
    def _without_password(self, store: str | None) -> str | None:
        """Save the store's name alone: a password may stand anywhere in an address."""
        name = (store or "").partition("://")[0]
        return name if name.isidentifier() else None


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
    follow_links: bool = False
    """Follow links in folders that lead out of them or to hidden files; others always are."""
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
    """Cross-encoder (folder or id) that ranks the best candidates again; default: the one that
    `tailor tune --reranker` published, if any; none: without."""
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
    """How long to wait for the endpoint to begin, and between its words; its whole answer may take
    half a second more for each of ask.answer_tokens."""
    context_tokens: int | None = Field(None, ge=128)
    """Tokens that the writing model reads; default: its own limit; of an endpoint what it lists,
    else 8,192."""
    answer_tokens: int = Field(256, ge=1)
    """Longest answer; the prompt gets the rest of what the model reads."""
    sentences: int = Field(3, ge=1)
    """Without a model: most sentences quoted."""
    support: float = Field(0.6, ge=0, le=1)
    """Least share of a sentence's content words that its cited passage must hold."""
    threshold: float | None = None
    """Below this cosine of the best passage (BM25 where only words are searched) the answer is "I
    don't know"; default: calibrated on judged queries by `tailor evaluate --store`, else the
    cosine and the share of the question's words that a passage holds are added up."""

    @field_serializer("endpoint", when_used="json")
    def _without_password(self, endpoint: str | None) -> str | None:
        """Keep a password out of what is saved."""
        return endpoint and without_credentials(endpoint)


class RetrieverConfig(Section):
    """How the embedder or the reranker of a knowledge base is tuned."""

    method: Literal["full", "lora"] = "full"
    """full: every weight; lora: a low-rank update, merged when done."""
    pairs: Literal["auto", "given", "documents", "both"] = "auto"
    """Where training pairs come from: the judged queries, titles and headings of the documents, or
    both; auto: both where there are judged queries, else the documents."""
    document_pairs: int = Field(2000, ge=0)
    """Most pairs made from documents, drawn once."""
    epochs: float = Field(3.0, gt=0)
    """Passes over the pairs."""
    batch_size: int = Field(64, ge=2)
    """Pairs per step; every other pair's document is a negative."""
    micro_batch_size: int = Field(16, ge=1)
    """Texts per forward pass: less memory, same gradients (GradCache, arXiv 2101.06983)."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate; default: 5e-5 (full) or 5e-4 (lora), a reranker's 2e-5."""
    temperature: float = Field(0.05, gt=0)
    """Similarities are divided by it in the loss: smaller looks at the hardest negatives only."""
    hard_negatives: int = Field(1, ge=0)
    """Documents per pair that are found for the query and not judged relevant."""
    mining_depth: int = Field(30, ge=1)
    """Hits of each side, dense and words, that negatives are drawn from."""
    false_negative: float = Field(0.95, gt=0)
    """A negative whose similarity to the query exceeds this share of the positive's is dropped: it
    may well be right (NV-Retriever, arXiv 2407.15831)."""
    max_tokens: int = Field(256, ge=8)
    """Texts are cut here in training."""
    validation_share: float = Field(0.15, gt=0, lt=0.5)
    """Share of the judged queries that stopping and averaging are chosen on."""
    held_out_share: float = Field(0.25, gt=0, lt=0.8)
    """Share of the judged queries that the gate tests on; nothing is chosen on them."""
    validation_documents: int = Field(1000, ge=10)
    """Texts that are embedded for a validation: the right ones and the hardest others."""
    evaluate_every: int | None = Field(None, ge=1)
    """Steps between validations; default: once an epoch."""
    patience: int = Field(2, ge=1)
    """Stop after this many validations in a row without a better one."""
    averages: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Shares of the tuned weights tried in the mean of old and tuned weights (WiSE-FT, arXiv
    2109.01903); the best on validation is taken."""
    significance: float = Field(0.05, gt=0, le=1)
    """The gate: publish only when the paired test's p-value on held-out queries is below this."""
    seed: int = Field(1, ge=0)
    """Seed of split, order and dropout."""


class QuestionsConfig(Section):
    """A comparison on questions: which, on what documents, and how much of it."""

    store: str | None = None
    """Knowledge base that holds the documents; with it `tailor compare` asks questions."""
    documents: str | None = None
    """Documents that are indexed first, into the run's own knowledge base: files, folders, globs,
    with commas between them."""
    split: Literal["document", "paragraph", "question"] | None = None
    """What never stands in two parts; default: document where the questions name enough sources,
    else question."""
    test: int = Field(300, ge=10)
    """Most questions that are tested on."""
    train: int | None = Field(None, ge=10)
    """Most questions that are trained on; default: 300 on a CPU, else all."""
    validation: int | None = Field(None, ge=5)
    """Questions that training is validated on; default: a tenth, at most 60."""
    passages: int | None = Field(None, ge=1, le=20)
    """Passages before each question; default: 4, or as many as questions.prompt_tokens holds."""
    prompt_tokens: int | None = Field(None, ge=64)
    """Tokens of passages before each question; default: 512 on a CPU, else 2,048."""
    answer_tokens: int = Field(48, ge=4)
    """Longest answer, the same for every arm."""
    shots: int = Field(4, ge=1)
    """few_shot: solved training questions before each question."""
    changed: str | None = None
    """Folder or file with the documents as they are after a real edit; default: answers are
    exchanged for others of their kind."""
    substitutions: int = Field(60, ge=0)
    """Most test questions whose answer is exchanged in the documents; 0: no change is tested."""
    price_per_hour: float | None = Field(None, ge=0)
    """What an hour of this machine costs; prices are shown with it."""
    seed: int = Field(1, ge=0)
    """Seed of the split, the order of passages and the exchange of answers."""


class RaftConfig(Section):
    """RAFT (arXiv 2403.10131): a model is tuned on questions with the passages found for them."""

    missing: float = Field(0.2, ge=0, le=0.9)
    """Share of the rows in which no passage holds the answer; questions without an answer count."""
    shares: tuple[float, ...] | None = None
    """Shares of the rows with the right passage to choose among on validation, each a training of
    its own, such as `[0.6, 0.8, 1]`; default: 1 - raft.missing alone."""
    no_oracle: Literal["abstain", "answer"] = "abstain"
    """What is learnt where no passage holds the answer: to say so, or, as in the paper, the answer
    all the same."""
    quote: bool = True
    """Whether the sentence that holds the answer is written before it."""
