"""All settings; a field's docstring is its help, its docs entry and its error text."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from tailorbird.config.hyperparameter_search import SearchConfig
from tailorbird.config.knowledge import (
    AskConfig,
    IndexConfig,
    KnowledgeConfig,
    QuestionsConfig,
    RaftConfig,
    RetrieveConfig,
    RetrieverConfig,
)
from tailorbird.config.method import MethodConfig, method_spec
from tailorbird.config.section import Section
from tailorbird.errors import UserError
from tailorbird.records import TASKS

MOST_SEEDS = 20

if TYPE_CHECKING:
    TaskChoice = str
else:
    TaskChoice = Literal[("auto", *TASKS)]


class ModelConfig(Section):
    """The base model."""

    name: str = "builtin:minilm"
    """Hugging Face id, local folder, `builtin:minilm` (all-MiniLM-L6-v2, 22.7 M parameters, for
    labels), `builtin:tutor` (4 M, for written answers, and the default for them) or
    `builtin:smollm2` (SmolLM2-135M-Instruct, from 4-bit weights; `tailor doctor` says how to get
    it)."""
    revision: str | None = None
    """Branch, tag or commit of a Hugging Face id; default: its main branch."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Number format of matrix products; auto: bf16 if the machine multiplies it fast,
    else fp32."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps`; auto: the fastest available."""
    pairs: Literal["auto", "cross-encoder", "bi-encoder"] = "auto"
    """How text pairs are read. cross-encoder: together. bi-encoder: one by one, then both vectors
    are compared (SBERT, arXiv 1908.10084). auto: bi-encoder if a sentence-transformers model learns
    numbers, else cross-encoder."""
    trust_remote_code: bool = False
    """Run Python code that the model's author stored with the weights. Only for authors you
    trust."""


class DataConfig(Section):
    """Where the examples are and how they are read and split."""

    train: str | None = None
    """Training examples: a file, several (`a.csv,b.csv`), a pattern (`data/*.jsonl.gz`), a folder,
    or a data set on the Hugging Face hub (`owner/name[:subset][@revision]`). `FOLDER#split` selects
    one split; by default, splits called validation and test are used as such."""
    validation: str | None = None
    """Validation examples, in the same form; default: split off the training rows."""
    test: str | None = None
    """Test examples, in the same form; default: split off the training rows."""
    max_examples: int | None = Field(None, ge=1)
    """Most rows of each part: a random sample, drawn while reading without holding the rest in
    memory; default: all."""
    on_disk: bool | None = None
    """Keep training rows in the run folder and their tokens in a file, with one batch in memory at
    a time; for labels, answers and plain text. Rows are split by a hash of their text, and not
    compared with each other. Default: yes if the files are larger than an eighth of the memory."""
    task: TaskChoice = "auto"
    """classification: one label of a set. multilabel: any number of them. regression: numbers.
    tokens: a label per word. generation: answers to prompts and conversations. text: plain text
    (continued pre-training). auto: inferred from the columns and their values."""
    text: str | None = None
    """Column with the text (the prompt, for generation), or `A,B`: two texts read as a pair; by
    name, or by number (from 1) in files without a header; guessed when unambiguous."""
    label: str | None = None
    """Column with the label, the labels or the number (the answer, for generation), or several,
    as `A,B,C`: 0/1 columns of multi-label data, or several numbers; guessed when unambiguous."""
    separator: str | None = None
    """Multi-label: separator of the labels in a cell; default: `,`, `;`, `|` or, between whole
    numbers, a space, whichever the column has. Regression: the decimal mark, `,` or `.`; default:
    inferred from the column."""
    system: str | None = None
    """System message put before conversations that have none; default: none."""
    template: str = "auto"
    """Chat template. auto: the model's own, or `plain` if it has none. plain, alpaca, chatml, raw
    (the text alone), or a file with a Jinja template; it is saved with the tokenizer."""
    too_long: Literal["cut", "drop", "error"] = "cut"
    """Conversations longer than max_length: cut their end (the model then does not learn the
    answer's end), drop them, or stop with an error."""
    max_length: int | None = Field(None, ge=4)
    """Longest input in tokens, including virtual tokens; default: what the data needs, up to the
    model's limit or 512 (2,048 for generation)."""
    validation_share: float = Field(0.15, gt=0, lt=0.9)
    """Share of the training rows for validation if no file is given."""
    test_share: float = Field(0.2, gt=0, lt=0.9)
    """Share of the rows for the test if no file is given."""
    group: str | None = None
    """Column such as the user or the document: rows with the same value stay in one part, and
    intervals count them as one observation. `near-duplicates`: nearly identical rows form a group.
    Default: every row by itself."""
    time: str | None = None
    """Column of dates or numbers: the earliest rows are for training, the latest for the test;
    default: rows are split at random."""
    folds: int | None = Field(None, ge=2, le=50)
    """Cross-validation of `tailor tune`: number of runs, each tested on another part of the rows;
    default: one run with one split."""
    split_seed: int = Field(13, ge=0)
    """Seed of the split, which is the same for every arm."""
    overlap: Literal["drop", "keep", "error"] = "drop"
    """Training rows that are also in validation or test, ignoring case and white space: drop them,
    keep them, or stop with an error."""
    drop_missing: bool = False
    """Drop rows with an empty text or label instead of stopping with an error."""


class TrainConfig(Section):
    """The training loop. The default none is the method's own tuned value (see docs/methods.md)."""

    epochs: float | None = Field(None, gt=0)
    """Passes over the training data; default: 3, up to 10 with little data or many classes; 2 for
    written answers (prompt tuning 3)."""
    batch_size: int | None = Field(None, ge=1)
    """Examples per optimizer step; default: 32, or 16 for fewer than 2,000 training examples."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Examples per forward pass; a smaller value needs less memory and gives the same result.
    Default: the whole batch."""
    micro_batch_tokens: int | None = Field(None, ge=16)
    """Generation: most tokens per forward pass; a smaller value needs less memory and gives the
    same result. Default: 1,024 on a CPU, 16,384 on a GPU."""
    packing: bool = True
    """Generation: pack texts without padding; texts do not attend to each other."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate; default: the method's."""
    loss: Literal["auto", "cross_entropy", "focal", "bce", "mse", "mae", "huber"] = "auto"
    """Classification, tokens: cross_entropy or focal (arXiv 1708.02002); multilabel: bce;
    regression: mse, mae or huber. auto: the first of them."""
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    """Classification: weight of each class in the loss; `balanced`: in inverse proportion to its
    training rows; or `{label: weight}`, others 1. Default: 1 for all."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Classification with cross_entropy: this share of the target is spread over all classes."""
    focal_gamma: float = Field(2.0, ge=0)
    """focal: exponent that reduces the loss of examples that are predicted well; 0:
    cross-entropy."""
    positive_weights: Literal["balanced"] | dict[str, float] | None = None
    """Multilabel: weight of rows with a label relative to rows without it; `balanced`: training
    rows without the label per row with it, at most 100. Default: 1."""
    huber_delta: float = Field(1.0, gt=0)
    """huber: number of standard deviations from which the loss grows linearly."""
    layer_decay: float | None = Field(None, gt=0, le=1)
    """Full fine-tuning: each layer's learning rate as a multiple of that of the layer above, such
    as 0.9 (ULMFiT, arXiv 1801.06146; as in BEiT); the head keeps the full rate. Default: 1."""
    optimizer: Literal["adamw", "adamw8bit", "adam", "sgd", "adagrad"] = "adamw"
    """adamw, adamw8bit (bitsandbytes: moments in 8 bits, a quarter of the memory), adam, sgd
    (momentum 0.9) or adagrad."""
    weight_decay: float | None = Field(None, ge=0)
    """Weight decay of matrices, not of biases and norms; default: the method's."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Learning rate after the warm-up: falls to 0 in a line or a cosine, or stays."""
    warmup: float = Field(0.06, ge=0, lt=1)
    """Share of the steps over which the learning rate rises to its peak."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    head_start: bool | None = None
    """Fit the new head by logistic regression before training (LP-FT, arXiv 2202.10054); default:
    from 10 classes or labels on, and for a bi-encoder; never for a label per word."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout inside the base model during training; default: the model's own if its weights are
    trained, none if they are frozen or in a bi-encoder."""
    evaluate_every: int | None = Field(None, ge=1)
    """Optimizer steps between validations; default: twice an epoch."""
    patience: int = Field(4, ge=1)
    """Validations in a row without improvement after which training stops."""
    checkpoint_every: int | None = Field(None, ge=1)
    """Optimizer steps between checkpoints; default: one a minute."""
    seed: int = Field(1, ge=0)
    """Seed of initialisation, order and dropout."""
    processes: int = Field(1, ge=1, le=64)
    """Processes that train together, each with its share of every batch, of the cores or with a GPU
    of its own (docs/scale.md). torchrun and accelerate launch set the number themselves."""
    shard: bool = False
    """With several processes: split weights, gradients and moments among them (FSDP2); the result
    is the same. Not with qlora (docs/scale.md)."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""
    check_memory: bool = True
    """Plan the memory before training: micro-batches that would not fit are reduced, and a training
    that cannot fit is refused (`tailor plan` shows the plan)."""
    tensorboard: bool = True
    """Write TensorBoard events to the run folder."""


class GenerateConfig(Section):
    """How answers are generated."""

    max_new_tokens: int | None = Field(None, ge=1)
    """Longest answer in tokens; default: enough for nearly all answers in the data, at most 512."""
    temperature: float = Field(0.0, ge=0)
    """Sampling temperature; 0 always takes the likeliest token (greedy)."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Sample from the fewest tokens that hold this share of the probability."""
    top_k: int | None = Field(None, ge=1)
    """Sample from this many likeliest tokens; default: from all."""
    min_p: float = Field(0.0, ge=0, lt=1)
    """Sample from tokens whose probability is at least this multiple of the likeliest token's."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer; they are not part of it."""
    seed: int = Field(1, ge=0)
    """Sampling seed."""


class EvaluateConfig(Section):
    """How written answers are scored, and label errors found."""

    label_errors: bool = True
    """Look for labels that may be wrong, and list them in label_errors.csv."""

    metric: str = "auto"
    """Score for the verdict: token_f1, rouge_l, exact_match, numeric_match, choice_accuracy, or
    FILE.py:FUNCTION, called as `function(output, reference, prompt)` and returning a number. auto:
    numeric_match if answers end in `#### number`, choice_accuracy if they are a few labels, else
    token_f1."""
    examples: int | None = Field(None, ge=1)
    """Test prompts to answer, sampled once; default: at most 300."""
    reference: str | None = None
    """Text file whose loss before and after training measures forgetting; default: pages on
    Python's errors that come with tailorbird."""


class RagConfig(Section):
    """Retrieval of labelled neighbours."""

    embedder: str | None = None
    """Model that embeds texts; default: the base model if it is a sentence-transformers model, else
    `builtin:minilm`."""
    k: int | None = Field(None, ge=1)
    """Number of neighbours that vote, or that are put before a prompt; default: chosen on
    validation."""
    temperature: float | None = Field(None, gt=0)
    """Votes weigh exp(similarity / temperature); default: chosen on validation."""
    weight: float | None = Field(None, ge=0, le=1)
    """rag+best: weight of the neighbours' probabilities; default: chosen on validation."""


class ServeConfig(Section):
    """How runs and knowledge bases are served over HTTP."""

    host: str = "127.0.0.1"
    """Address to listen on; any other than this machine's own needs a key."""
    port: int = Field(8000, ge=0, le=65535)
    """Port; 0 picks a free one."""
    keys: str = "~/.config/tailorbird/keys.json"
    """File with the hashes of keys; once it holds one, every request needs a key."""
    adapters: str | None = None
    """Folder whose runs may be loaded and unloaded while serving; default: none."""
    batch_tokens: int | None = Field(None, ge=16)
    """Most tokens in a batch of texts, including padding; default: 1,024 on a CPU, else 16,384. A
    longer text runs alone."""
    queue_requests: int = Field(512, ge=1)
    """Most requests waiting or running for one model; further ones are refused with status 429."""
    queue_inputs: int = Field(1024, ge=1)
    """Most texts waiting for one model; further ones are refused with status 429."""
    queue_tokens: int = Field(262_144, ge=16)
    """Most tokens waiting for one model; further ones are refused with status 429."""
    request_inputs: int = Field(256, ge=1)
    """Most texts in one request."""
    request_mb: float = Field(8.0, gt=0)
    """Largest request body, in MB; for an uploaded document index.max_file_mb is the limit."""
    chats: int = Field(16, ge=1)
    """Answers that one model generates at once; others wait."""
    answer_tokens: int = Field(1024, ge=1)
    """Longest answer, in tokens, that a request may ask for."""
    deadline_seconds: float = Field(60.0, gt=0)
    """A request that takes longer gets status 504; an answer being generated ends there."""
    stall_seconds: float = Field(8.0, gt=0)
    """A worker that does not respond for this time is replaced; a batch that should take longer, by
    the measured speed, gets ten times its expected time."""
    drain_seconds: float = Field(30.0, ge=0)
    """Time for running requests to finish after SIGTERM."""


class CompareConfig(Section):
    """What `tailor compare` runs."""

    methods: tuple[str, ...] | None = None
    """Arms to run; default: all that fit the task. On questions: methods (or `all`), which replace
    LoRA next to all other arms, or only these arms, such as `rag,raft+lora`."""
    seeds: int | Literal["auto"] | None = None
    """Trainings per trained arm, each with its own seed; scores are their mean. auto: once, then
    again for undecided arms, until the recommendation is settled, at most 5. Default: auto, while
    that takes at most a quarter of the time of the first trainings."""
    margin: float = Field(0.02, gt=0, lt=1)
    """How far behind the best a cheaper arm may be and still be recommended: a share of a score
    whose maximum is 1 (0.02 is 2 points), else of the best score."""
    budget_minutes: float | None = Field(None, gt=0)
    """Wall-clock minutes for all arms together; arms that would not finish by then are skipped.
    Default: no limit."""
    jobs: int = Field(1, ge=1, le=256)
    """Arms that run in parallel on this machine, each on its part of the cores or on its own GPU,
    if memory allows (docs/scale.md)."""
    curve: str | None = None
    """Forecast the gain from more labels by training this arm on parts of the data; auto: probe, or
    lora for written answers (docs/plan.md). Default: no forecast."""
    ray: str | None = None
    """Address of a Ray cluster whose nodes run arms, seeds and trials: HOST:PORT, or auto for the
    cluster of this machine. `tailor tune --search` uses it too. Default: this machine
    alone."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _trainings(cls, seeds: Any) -> Any:
        count = int(seeds) if isinstance(seeds, str) and seeds.isdecimal() else seeds
        if count in (None, "auto") or (type(count) is int and 1 <= count <= MOST_SEEDS):
            return count
        raise ValueError(f"give a whole number from 1 to {MOST_SEEDS}, or auto")

    @field_validator("methods")
    @classmethod
    def _once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and not names:
            raise ValueError("name at least one arm")
        return names and tuple(dict.fromkeys(names))


class Config(Section):
    """All settings of a run."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    method: MethodConfig = MethodConfig()
    train: TrainConfig = TrainConfig()
    search: SearchConfig = SearchConfig()
    generate: GenerateConfig = GenerateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    rag: RagConfig = RagConfig()
    knowledge: KnowledgeConfig = KnowledgeConfig()
    index: IndexConfig = IndexConfig()
    retrieve: RetrieveConfig = RetrieveConfig()
    ask: AskConfig = AskConfig()
    retriever: RetrieverConfig = RetrieverConfig()
    serve: ServeConfig = ServeConfig()
    compare: CompareConfig = CompareConfig()
    questions: QuestionsConfig = QuestionsConfig()
    raft: RaftConfig = RaftConfig()
    output: str | None = None
    """Folder of the run; default: `runs/<verb>-<data>-<number>`."""


for _field in Config.model_fields.values():  # a section's own docstring describes it
    _field.description = _field.description or getattr(_field.annotation, "__doc__", None)


def check_method(config: Config) -> None:
    """Check that the method has the options that are set.

    Of a run of one method: in a comparison each arm takes what it has (`for_arm`).

    Raises:
        UserError: It lacks some.
    """
    name = config.method.name
    own = method_spec(name).options.model_fields
    if foreign := sorted(set(config.method.own_options) - set(own)):
        raise UserError(
            f"method {name!r} has no option {', '.join(foreign)}; it has: "
            f"{', '.join(own) or 'none'}",
            "leave it out or choose another method",
        )


def for_arm(config: Config, name: str) -> Config:
    """Return `config` for one arm of a comparison, without options of other methods."""
    own = method_spec(name).options.model_fields
    options = {key: value for key, value in config.method.own_options.items() if key in own}
    return config.replace(method=MethodConfig(name=name, **options))
