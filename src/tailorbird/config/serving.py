"""Settings of the server."""

from pydantic import Field

from tailorbird.config.section import Section


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
    """Tokens of a batch of texts, padding included; default: 4,096 on a CPU, else 16,384. A longer
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
