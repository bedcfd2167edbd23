"""Settings of knowledge bases and of questions: index, retrieve, ask, tune the retriever."""

from typing import Literal

from pydantic import Field, field_serializer

from tailorbird.config.section import Section
from tailorbird.terminal import without_credentials


class KnowledgeConfig(Section):
    """Where a knowledge base is stored."""

    store: str | None = None
    """`files`: in its own folder; `lancedb`: there too, as LanceDB tables, the format of earlier
    versions; `postgresql://USER@HOST:PORT/DATABASE?schema=NAME`: on a server that several hosts
    write. Default: where the knowledge base is; a new one is stored in files."""

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
    """Longest chunk in the embedder's tokens, including title and headings; default: 256, or the
    embedder's limit if that is less."""
    overlap_tokens: int = Field(32, ge=0)
    """Tokens of the previous chunk that a chunk repeats."""
    include: tuple[str, ...] = ()
    """Globs of the files to read in folders; default: all. Files that cannot be read are listed,
    each with the reason."""
    exclude: tuple[str, ...] = ()
    """Globs of files and folders to exclude, besides hidden ones and those in .gitignore and
    .tailorignore."""
    follow_links: bool = False
    """Follow links in folders that lead out of them or to hidden files; other links are always
    followed."""
    text: str | None = None
    """CSV, JSONL: column with the text; default: guessed from the columns' names, else all."""
    title: str | None = None
    """CSV, JSONL: column with the title; default: guessed from the columns' names."""
    id: str | None = None
    """CSV, JSONL: column that identifies a row; default: guessed from the columns' names, else the
    row's number."""
    seconds_per_file: float = Field(60.0, gt=0)
    """Seconds to read a file; one that takes longer is skipped, with this reason."""
    max_file_mb: float = Field(200.0, gt=0)
    """Largest file, in MB; larger ones are skipped, with this reason."""
    workers: int | None = Field(None, ge=1)
    """Processes that read files; default: one per core, at most four."""
    worker_memory_mb: float = Field(2048.0, ge=256)
    """Memory (address space) of each of these processes, in MB; files that need more are skipped,
    with this reason."""


class RetrieveConfig(Section):
    """How chunks are retrieved for a question."""

    k: int = Field(5, ge=1)
    """Passages to return."""
    candidates: int = Field(100, ge=1)
    """Hits of each search, dense and words, before fusion."""
    mode: Literal["hybrid", "dense", "words"] = "hybrid"
    """dense: by meaning; words: BM25 over stemmed words; hybrid: both, fused."""
    fusion: Literal["convex", "rrf"] = "convex"
    """convex: weighted sum of scaled scores; rrf: reciprocal ranks."""
    weight: float | None = Field(None, ge=0, le=1)
    """Weight of the dense search; default: chosen on judged queries by `tailor evaluate --store`,
    else 0.5."""
    reranker: str | None = None
    """Cross-encoder (folder or id) that reranks the best candidates; default: the one that
    `tailor tune --reranker` published, if any; none: no reranking."""
    rerank: int = Field(30, ge=1)
    """Best chunks that the reranker reads."""
    diversity: float = Field(0.0, ge=0, lt=1)
    """Weight of dissimilarity to passages already selected (maximal marginal relevance)."""
    neighbours: int = Field(1, ge=0)
    """Chunks before and after a hit that are joined to its passage."""


class AskConfig(Section):
    """How a question is answered from the retrieved passages."""

    model: str | None = None
    """Run folder, local model or id that generates the answer; default: none, sentences are
    quoted."""
    endpoint: str | None = None
    """URL of an OpenAI-compatible server that generates the answer; default: none."""
    endpoint_model: str | None = None
    """Model's name at the endpoint; default: the first it lists."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable with the endpoint's key."""
    timeout_seconds: float = Field(60.0, gt=0)
    """Seconds to wait for the endpoint's first data, and from then on for the next; a whole answer
    may take half a second more for each of ask.answer_tokens."""
    context_tokens: int | None = Field(None, ge=128)
    """Context length of the generating model in tokens; default: its own limit; for an endpoint,
    the limit that it lists, else 8,192."""
    answer_tokens: int = Field(256, ge=1)
    """Longest answer in tokens; the prompt gets the rest of the context."""
    sentences: int = Field(3, ge=1)
    """Without a model: most sentences to quote."""
    support: float = Field(0.6, ge=0, le=1)
    """Least share of a sentence's content words that its cited passage must hold."""
    threshold: float | None = None
    """Below this cosine of the best passage (BM25 with word search only) the answer is "I don't
    know"; default: calibrated on judged queries by `tailor evaluate --store`, else a limit on the
    sum of the cosine and the share of the question's words in a passage."""

    @field_serializer("endpoint", when_used="json")
    def _without_password(self, endpoint: str | None) -> str | None:
        """Keep a password out of what is saved."""
        return endpoint and without_credentials(endpoint)


class RetrieverConfig(Section):
    """How the embedder or the reranker of a knowledge base is tuned."""

    method: Literal["full", "lora"] = "full"
    """full: every weight; lora: a low-rank update, merged at the end."""
    pairs: Literal["auto", "given", "documents", "both"] = "auto"
    """Source of training pairs: judged queries, titles and headings of the documents, or both;
    auto: both if there are judged queries, else the documents."""
    document_pairs: int = Field(2000, ge=0)
    """Most pairs made from documents; of more, a random sample is used."""
    epochs: float = Field(3.0, gt=0)
    """Passes over the pairs."""
    batch_size: int = Field(64, ge=2)
    """Pairs per step; each pair's negatives are the documents of all others."""
    micro_batch_size: int = Field(16, ge=1)
    """Texts per forward pass; a smaller value needs less memory and gives the same gradients
    (GradCache, arXiv 2101.06983)."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate; default: full 5e-5, or 2e-5 for a reranker; lora 5e-4."""
    temperature: float = Field(0.05, gt=0)
    """Similarities are divided by it in the loss: smaller values focus on the hardest negatives."""
    hard_negatives: int = Field(1, ge=0)
    """Retrieved documents per pair that are not judged relevant."""
    mining_depth: int = Field(30, ge=1)
    """Hits of each search, dense and words, from which negatives are sampled."""
    false_negative: float = Field(0.95, gt=0)
    """A negative whose similarity to the query exceeds this share of the positive's is dropped: it
    may be relevant (NV-Retriever, arXiv 2407.15831)."""
    max_tokens: int = Field(256, ge=8)
    """Longest text in training, in tokens."""
    validation_share: float = Field(0.15, gt=0, lt=0.5)
    """Share of the judged queries for early stopping and averaging."""
    held_out_share: float = Field(0.25, gt=0, lt=0.8)
    """Share of the judged queries for the test that decides about publishing; nothing is chosen on
    them."""
    validation_documents: int = Field(1000, ge=10)
    """Texts to embed for a validation: the relevant ones and the hardest others."""
    evaluate_every: int | None = Field(None, ge=1)
    """Steps between validations; default: once an epoch."""
    patience: int = Field(2, ge=1)
    """Validations in a row without improvement after which tuning stops."""
    averages: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Shares of the tuned weights to try in the mean of old and tuned weights (WiSE-FT, arXiv
    2109.01903); the best on validation is used."""
    significance: float = Field(0.05, gt=0, le=1)
    """Publish only if the paired test's p-value on held-out queries is below this."""
    seed: int = Field(1, ge=0)
    """Seed of split, order and dropout."""


class QuestionsConfig(Section):
    """A comparison on questions about documents."""

    store: str | None = None
    """Knowledge base with the documents; with it, `tailor compare` runs on questions."""
    documents: str | None = None
    """Documents to index first, into the run's own knowledge base: files, folders, globs, separated
    by commas."""
    split: Literal["document", "paragraph", "question"] | None = None
    """What stays in one part when questions are split; default: document if the questions name
    enough sources, else question."""
    test: int = Field(300, ge=10)
    """Most test questions."""
    train: int | None = Field(None, ge=10)
    """Most training questions; default: 300 on a CPU, else all."""
    validation: int | None = Field(None, ge=5)
    """Validation questions; default: a tenth, at most 60."""
    passages: int | None = Field(None, ge=1, le=20)
    """Passages before each question; default: 4, or as many as fit questions.prompt_tokens."""
    prompt_tokens: int | None = Field(None, ge=64)
    """Tokens of passages before each question; default: 512 on a CPU, else 2,048."""
    answer_tokens: int = Field(48, ge=4)
    """Longest answer in tokens, the same for every arm."""
    shots: int = Field(4, ge=1)
    """few_shot: number of training questions with answers before each question."""
    changed: str | None = None
    """Folder or file with the documents after a real edit; default: answers in the documents are
    replaced by others of their kind."""
    substitutions: int = Field(60, ge=0)
    """Most test questions whose answer is replaced in the documents; 0: no test of changes."""
    price_per_hour: float | None = Field(None, ge=0)
    """Price of one hour of this machine, in any currency; the report then shows prices."""
    seed: int = Field(1, ge=0)
    """Seed of the split, the order of passages and the replacement of answers."""


class RaftConfig(Section):
    """RAFT (arXiv 2403.10131): a model is tuned on questions with their retrieved passages."""

    missing: float = Field(0.2, ge=0, le=0.9)
    """Share of the rows in which no passage holds the answer, including questions without an
    answer."""
    shares: tuple[float, ...] | None = None
    """Shares of the rows with the right passage to try on validation, each with its own training,
    such as `[0.6, 0.8, 1]`; default: only 1 - raft.missing."""
    no_oracle: Literal["abstain", "answer"] = "abstain"
    """What the model learns to answer if no passage holds the answer: that it does not know
    (abstain), or the answer, as in the paper."""
    quote: bool = True
    """Learn to quote the sentence with the answer before the answer."""
