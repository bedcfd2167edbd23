"""`tailor ask`: from a question through passages to an answer with checked citations."""

from functools import partial
from pathlib import Path

from tailorbird.config import Config
from tailorbird.errors import UserError
from tailorbird.rag.answerer import Answerer
from tailorbird.rag.checked_answer import Writes


def open_answerer(store: str | Path, config: Config, few: bool = False) -> Answerer:
    """Open a knowledge base for questions.

    Args:
        few: Only the passages of one or two questions are needed, so the embedder that loads
            fastest is used. (Answers also embed the sentences of passages: thousands of tokens.)

    Raises:
        UserError: It does not exist, or a setting does not fit.
    """
    from tailorbird.knowledge.base import KnowledgeFolder
    from tailorbird.knowledge.embedders import load_embedder

    load = partial(load_embedder, few=few)
    return Answerer(KnowledgeFolder(Path(store), load=load), config, make_writer(config))


def make_writer(config: Config) -> Writes | None:
    """Return the model that generates answers; None if sentences are quoted.

    Raises:
        UserError: Both a model and an endpoint are set, or the model cannot be loaded or generate.
    """
    ask = config.ask
    if ask.model and ask.endpoint:
        raise UserError("both ask.model and ask.endpoint are set", "choose one of them")
    if ask.endpoint:
        from tailorbird.rag.endpoint import Endpoint

        return Endpoint(ask.endpoint, ask)
    if ask.model:
        from tailorbird.arms.local_generator import open_generator

        return open_generator(ask.model, config)
    return None
