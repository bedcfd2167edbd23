"""`tailor ask`: question -> passages -> answer with checked citations."""

from functools import partial
from pathlib import Path

from tailorbird.config import Config
from tailorbird.errors import UserError
from tailorbird.rag.answer import Writes
from tailorbird.rag.answerer import Answerer


def open_answerer(store: str | Path, config: Config, few: bool = False) -> Answerer:
    """Open a knowledge base to ask it.

    Args:
        few: It will be asked for the passages of a question or two: what loads soonest embeds
            them. (Answers embed the sentences of passages as well: thousands of tokens.)

    Raises:
        UserError: There is none, or a setting does not fit.
    """
    from tailorbird.knowledge.base import KnowledgeFolder
    from tailorbird.knowledge.embedders import load_embedder

    load = partial(load_embedder, few=few)
    return Answerer(KnowledgeFolder.open(Path(store), load), config, make_writer(config))


def make_writer(config: Config) -> Writes | None:
    """Return what writes answers; None where sentences are quoted.

    Raises:
        UserError: Both a model and an endpoint, or a model that cannot be had or does not write.
    """
    ask = config.ask
    if ask.model and ask.endpoint:
        raise UserError("both ask.model and ask.endpoint are set", "choose one of them")
    if ask.endpoint:
        from tailorbird.rag.endpoint import Endpoint

        return Endpoint(ask.endpoint, ask)
    if ask.model:
        from tailorbird.arms.local_writer import open_writer

        return open_writer(ask.model, config)
    return None
