"""Every setting there is; a field's docstring is its help, its docs entry and its error text."""

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
    `builtin:smollm2` (SmolLM2-135M-Instruct, from 4-bit; `tailor doctor` says how to get it)."""
    revision: str | None = None
    """Branch, tag or commit of a Hugging Face id."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Number format of the matrix products; auto takes bf16 where the machine multiplies it
    fast."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps`; auto takes the fastest there is."""
    pairs: Literal["auto", "cross-encoder", "bi-encoder"] = "auto"
    """How two texts are read. cross-encoder: together. bi-encoder: one by one, then both vectors
    are compared (SBERT, arXiv 1908.10084). auto: bi-encoder where a sentence-transformers model
    learns numbers, else cross-encoder."""
    trust_remote_code: bool = False
    """Run Python code that the model's author put beside the weights. Only for authors you
    trust."""


class DataConfig(Section):
    """Where the examples are and how they are read and split."""

    train: str | None = None
    """Training examples: a file, several (`a.csv,b.csv`), a pattern (`data/*.jsonl.gz`), a folder,
    or a set on the Hugging Face hub (`owner/name[:subset][@revision]`). `FOLDER#split` takes one
    split; else splits called validation and test serve as such."""
    validation: str | None = None
    """The validation examples, named likewise; cut from the training rows when absent."""
    test: str | None = None
    """The test examples, named likewise; cut from the training rows when absent."""
    max_examples: int | None = Field(None, ge=1)
    """Rows to take of each part, drawn at random while reading; the rest is never held in
    memory."""
    on_disk: bool | None = None
    """Leave training rows in the run folder and their tokens in a file, a batch in memory at a
    time: labels, answers and plain text. Rows are split by a hash of their text, and not compared
    with each other. Default: where the files are larger than an eighth of the memory."""
    task: TaskChoice = "auto"
    """classification: one label of a set. multilabel: any number of them. regression: numbers.
    tokens: a label per word. generation: answers to prompts and conversations. text: plain text
    read on (continued pre-training). auto: as the columns and their values say."""
    text: str | None = None
    """Column with the text (the prompt, for generation), or `A,B`: two texts read as a pair; by
    name, or by number (from 1) in files without a header; guessed when unambiguous."""
    label: str | None = None
    """Column with the label, the labels or the number (the answer, for generation), or several,
    as `A,B,C`: 0/1 columns of multi-label data, or several numbers; guessed when unambiguous."""
    separator: str | None = None
    """Multi-label: what stands between the labels in a cell; default: `,`, `;`, `|` or, between
    whole numbers, a space, whichever the column has. Regression: the decimal mark, `,` or `.`;
    default: as the column shows."""
    system: str | None = None
    """System message put before conversations that have none."""
    template: str = "auto"
    """Chat template. auto: the model's own, or `plain` when it has none. plain, alpaca, chatml,
    raw (the words alone), or a file with a Jinja template; it is saved with the tokenizer."""
    too_long: Literal["cut", "drop", "error"] = "cut"
    """What to do with conversations longer than max_length: cut their end (the answer then has no
    end to learn), drop them, or stop."""
    max_length: int | None = Field(None, ge=4)
    """Longest input in tokens, virtual tokens included; default: what the data needs, up to the
    model's limit or 512 (2,048 for generation)."""
    validation_share: float = Field(0.15, gt=0, lt=0.9)
    """Share of the training rows cut off for validation when no file is given."""
    test_share: float = Field(0.2, gt=0, lt=0.9)
    """Share of the rows cut off for the test when no file is given."""
    group: str | None = None
    """Column of what must not be in two parts (a user, a document): its rows stay together, and
    intervals count them as one observation. `near-duplicates`: rows that are almost the same."""
    time: str | None = None
    """Column of dates or numbers: the earliest rows train, the latest are tested."""
    folds: int | None = Field(None, ge=2, le=50)
    """Cross-validation of `tailor tune`: so many runs, each tested on another part of the rows."""
    split_seed: int = Field(13, ge=0)
    """Seed of the split; every arm sees the same one."""
    overlap: Literal["drop", "keep", "error"] = "drop"
    """What to do with training rows that also stand in validation or test (case and white space
    aside)."""
    drop_missing: bool = False
    """Leave out rows with an empty text or label instead of stopping."""


class TrainConfig(Section):
    """The loop. None means: the method's own tuned default (docs/methods.md says where from)."""

    epochs: float | None = Field(None, gt=0)
    """Passes over the training data; default: the method's 3; up to 10 of little data or with many
    classes; 2 of written answers (prompt tuning 3)."""
    batch_size: int | None = Field(None, ge=1)
    """Examples per optimizer step; default: 32, or 16 for fewer than 2,000 training examples."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Examples per forward pass; smaller needs less memory, same result. Default: the whole
    batch."""
    micro_batch_tokens: int | None = Field(None, ge=16)
    """Generation: tokens per forward pass at most; smaller needs less memory, same result.
    Default: 1,024 on a CPU, 16,384 on a GPU."""
    packing: bool = True
    """Generation: lay texts end to end without padding, each blind to the others."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate."""
    loss: Literal["auto", "cross_entropy", "focal", "bce", "mse", "mae", "huber"] = "auto"
    """Classification, tokens: cross_entropy or focal (arXiv 1708.02002); multilabel: bce;
    regression: mse, mae or huber. auto: the first of them."""
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    """Classification: how much each class counts in the loss; `balanced`: in inverse proportion to
    its training rows; or `{label: weight}`, others 1."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Classification by cross_entropy: this share of the target is spread over all classes."""
    focal_gamma: float = Field(2.0, ge=0)
    """focal: how strongly examples that are already right are left out."""
    positive_weights: Literal["balanced"] | dict[str, float] | None = None
    """Multilabel: how much more a label counts where it is given than where it is not; `balanced`:
    as many times as it is absent from training rows per row that has it, at most 100."""
    huber_delta: float = Field(1.0, gt=0)
    """huber: from this many standard deviations on the loss grows linearly."""
    layer_decay: float | None = Field(None, gt=0, le=1)
    """Full fine-tuning: each layer learns this many times as fast as the one above it (0.9; ULMFiT,
    arXiv 1801.06146; as in BEiT); the head and what stands above the layers keep the full rate."""
    optimizer: Literal["adamw", "adamw8bit", "adam", "sgd", "adagrad"] = "adamw"
    """adamw, adamw8bit (bitsandbytes: moments in 8 bits, a quarter of the memory), adam, sgd
    (momentum 0.9) or adagrad."""
    weight_decay: float | None = Field(None, ge=0)
    """Decay of matrices (not of biases and norms)."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: float = Field(0.06, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    head_start: bool | None = None
    """Fit the new head by logistic regression before training (LP-FT, arXiv 2202.10054); default:
    from 10 classes or labels on, and of a bi-encoder; never where words are labelled."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout inside the base model while training; default: the model's own when it is trained
    itself, none while it is frozen and none in a bi-encoder."""
    evaluate_every: int | None = Field(None, ge=1)
    """Optimizer steps between validations; default: twice an epoch."""
    patience: int = Field(4, ge=1)
    """Stop after this many validations in a row without a better one."""
    checkpoint_every: int | None = Field(None, ge=1)
    """Optimizer steps between checkpoints; default: one a minute."""
    seed: int = Field(1, ge=0)
    """Seed of initialisation, order and dropout."""
    processes: int = Field(1, ge=1, le=64)
    """Processes that train together, each with its share of every batch, of the cores or with a GPU
    of its own; torchrun and accelerate launch say it themselves (docs/scale.md)."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""
    check_memory: bool = True
    """Plan the memory before training: micro-batches that would not fit are cut, and what cannot
    fit is refused (`tailor plan` shows the plan)."""
    tensorboard: bool = True
    """Write TensorBoard events to the run folder."""


class GenerateConfig(Section):
    """How answers are written."""

    max_new_tokens: int | None = Field(None, ge=1)
    """Longest answer in tokens; default: what nearly all answers in the data need, at most 512."""
    temperature: float = Field(0.0, ge=0)
    """0 takes the likeliest token every time (greedy); higher draws more freely."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Draw from the fewest tokens that hold this share of the probability."""
    top_k: int | None = Field(None, ge=1)
    """Draw from this many likeliest tokens."""
    min_p: float = Field(0.0, ge=0, lt=1)
    """Draw from tokens at least this many times as likely as the likeliest."""
    stop: tuple[str, ...] = ()
    """End an answer before any of these strings."""
    seed: int = Field(1, ge=0)
    """Seed of the draws."""


class EvaluateConfig(Section):
    """How written answers are scored, and labels doubted."""

    label_errors: bool = True
    """Look for labels that may be wrong, and list them in label_errors.csv."""

    metric: str = "auto"
    """What the verdict is decided on: token_f1, rouge_l, exact_match, numeric_match,
    choice_accuracy, or FILE.py:FUNCTION, called as `function(output, reference, prompt)` and
    returning a number. auto: numeric_match where answers end in `#### number`, choice_accuracy
    where they are a few labels, else token_f1."""
    examples: int | None = Field(None, ge=1)
    """Test prompts to answer, drawn once; default: 300 at most."""
    reference: str | None = None
    """Text file whose loss before and after training shows what was forgotten; default: pages on
    Python's errors that come with tailorbird."""


class RagConfig(Section):
    """Retrieval of labelled neighbours."""

    embedder: str | None = None
    """Model that embeds texts; default: the base model when it is a sentence-transformers model,
    else `builtin:minilm`."""
    k: int | None = Field(None, ge=1)
    """Neighbours that vote, or are shown to the model before a prompt; default: chosen on
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
    """Port; 0 takes a free one."""
    keys: str = "~/.config/tailorbird/keys.json"
    """File with the hashes of keys; once it holds one, every request needs a key."""
    adapters: str | None = None
    """Folder whose runs may be loaded and unloaded while serving; default: none may."""
    batch_tokens: int | None = Field(None, ge=16)
    """Tokens of a batch of texts, padding included; default: 1,024 on a CPU, else 16,384. A longer
    text runs alone."""
    queue_inputs: int = Field(1024, ge=1)
    """Texts that may wait for one model; more are refused with 429."""
    queue_tokens: int = Field(262_144, ge=16)
    """Tokens that may wait for one model; more are refused with 429."""
    request_inputs: int = Field(256, ge=1)
    """Texts of one request."""
    request_mb: float = Field(8.0, gt=0)
    """Size of a request's body; of an uploaded document index.max_file_mb is the limit."""
    chats: int = Field(16, ge=1)
    """Answers that one model writes at once; others wait."""
    answer_tokens: int = Field(1024, ge=1)
    """Longest answer that a chat may ask for."""
    deadline_seconds: float = Field(60.0, gt=0)
    """A request that takes longer is given up, with 504; an answer that is written ends there."""
    stall_seconds: float = Field(8.0, gt=0)
    """A worker that shows no sign of life for so long is replaced; longer batches, by the speed
    measured so far, are given ten times their time."""
    drain_seconds: float = Field(30.0, ge=0)
    """Time that requests at work have to end after SIGTERM."""


class CompareConfig(Section):
    """What `tailor compare` puts side by side."""

    methods: tuple[str, ...] | None = None
    """Arms to run; default: all that fit the task. On questions: methods (or `all`), which then
    stand in for LoRA beside every other arm, or arms such as `rag,raft+lora`, and no others."""
    seeds: int | Literal["auto"] | None = None
    """Trainings of each trained arm, each with its own seed; scores are their mean. auto: once,
    then again those arms that are in question, until the recommendation is settled or at 5.
    Default: likewise, while that takes at most a quarter of the time of the first trainings."""
    margin: float = Field(0.02, gt=0, lt=1)
    """How far behind the best an arm may be and still be recommended for its cost: a share of a
    score that reaches 1 (0.02 is 2 points), else of the best score."""
    budget_minutes: float | None = Field(None, gt=0)
    """Wall-clock minutes for all arms together; arms that do not fit are marked skipped."""
    jobs: int = Field(1, ge=1, le=256)
    """Arms that run at once on this machine, each on its part of the cores or a GPU of its own, as
    far as memory allows (docs/scale.md)."""
    curve: str | None = None
    """Say what more labels would buy, by training an arm on parts of the data: which one, or auto
    (probe, or lora where words are answered); see docs/plan.md."""
    ray: str | None = None
    """Address of a Ray cluster whose nodes run arms, seeds and trials: HOST:PORT, or auto for the
    one that this machine belongs to. `tailor tune --search` takes it too."""

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
    """The base model."""
    data: DataConfig = DataConfig()
    """The examples."""
    method: MethodConfig = MethodConfig()
    """The method and its options."""
    train: TrainConfig = TrainConfig()
    """The loop."""
    search: SearchConfig = SearchConfig()
    """The search for settings."""
    generate: GenerateConfig = GenerateConfig()
    """How answers are written."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How written answers are scored, and labels doubted."""
    rag: RagConfig = RagConfig()
    """Retrieval of labelled neighbours."""
    knowledge: KnowledgeConfig = KnowledgeConfig()
    """Where a knowledge base lies."""
    index: IndexConfig = IndexConfig()
    """How documents become a knowledge base."""
    retrieve: RetrieveConfig = RetrieveConfig()
    """How passages are found."""
    ask: AskConfig = AskConfig()
    """How questions are answered."""
    retriever: RetrieverConfig = RetrieverConfig()
    """How the retriever is tuned."""
    serve: ServeConfig = ServeConfig()
    """How all that is served."""
    compare: CompareConfig = CompareConfig()
    """The comparison."""
    questions: QuestionsConfig = QuestionsConfig()
    """A comparison on questions."""
    raft: RaftConfig = RaftConfig()
    """Tuning on passages."""
    output: str | None = None
    """Folder of the run; default: `runs/<verb>-<data>-<number>`."""


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
    return config.model_copy(update={"method": MethodConfig(name=name, **options)})
