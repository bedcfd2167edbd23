"""`tailorbird.KnowledgeBase`: the Python API of knowledge bases."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.config import load_config
from tailorbird.documents.read_result import document_digest
from tailorbird.errors import Faults, UserError, check_utf8, did_you_mean
from tailorbird.flows import index as indexing
from tailorbird.knowledge import maintenance
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.records import Answer, Document, Passage

if TYPE_CHECKING:
    from tailorbird.rag.answerer import Conversation

_SHORT = {"embedder": "index.embedder"}
_KEYS = ("text", "source", "title", "metadata")
_PLAIN = (str, int, float, bool, type(None))

Addition = str | Path | Mapping[str, Any]
"""A path (file, folder or glob), or a text with its attributes."""


class KnowledgeBase:
    """Documents that can be searched and asked.

    ::

        with tailorbird.KnowledgeBase("KB") as kb:
            kb.add("docs/")
            kb.add({"text": "Invoices are due in 30 days.", "metadata": {"team": "billing"}})
            kb.search("when must I pay?", where="team = 'billing'")
            kb.ask("When are invoices due?").text

    Args:
        path: Its folder; created if missing.
        **settings: ``embedder="my-model"``, or any setting with its dot as two underscores:
            ``index__chunk_tokens=128``, ``retrieve__k=8``, ``ask__model="RUN"``.

    Raises:
        UserError: It is damaged, embedded with another embedder, or a setting is wrong.
    """

    def __init__(self, path: str | Path, **settings: Any) -> None:
        flags = {_SHORT.get(name, name.replace("__", ".")): v for name, v in settings.items()}
        plain = {name: str(v) if isinstance(v, Path) else v for name, v in flags.items()}
        self.config = load_config(flags=plain)
        self.store = KnowledgeFolder(path, self.config.index, store=self.config.knowledge.store)
        own = self.config.index
        if "embedder" in own.model_fields_set and not self.store.adopts(own.embedder):
            embedder = self.store.settings.embedder
            self.store.close()
            raise UserError(
                f"{path} is embedded with {embedder}, not {own.embedder}",
                f"embed it again: tailor index --store {path} --embedder {own.embedder}",
            )
        self._conversation: Conversation | None = None

    def __enter__(self) -> "KnowledgeBase":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        self.store.close()

    def add(
        self, sources: Addition | Iterable[Addition], *, sync: bool = False
    ) -> indexing.Indexed:
        """Add files and texts, or update existing ones.

        Args:
            sources: Paths (files, folders, globs), and texts as ``{"text": ..., "source": ...,
                "title": ..., "metadata": {...}}``, one or many. A text of the same source is
                replaced; without one it is known by its content.
            sync: Delete what is gone from these folders.

        Returns:
            What was added, changed, unchanged and left out.

        Raises:
            UserError: A path that does not exist, or a text that is none; all are named, and
                nothing is added.
        """
        items = [sources] if isinstance(sources, str | Path | Mapping) else list(sources)
        documents = _documents(item for item in items if isinstance(item, Mapping))
        paths = [item for item in items if isinstance(item, str | Path)]
        check_utf8([str(path) for path in paths], "a path")
        config = self._settings()
        tally = indexing.Indexed()
        if paths:
            tally = indexing.index(self.store, paths, config, sync)
        if documents:
            texts = indexing.add_documents(self.store, documents)
            for name in ("added", "changed", "unchanged", "chunks", "seconds"):
                setattr(tally, name, getattr(tally, name) + getattr(texts, name))
        return tally

    def remove(self, sources: str | Path | Iterable[str | Path]) -> int:
        """Delete documents by source or by file; return the number deleted.

        Raises:
            UserError: One does not exist; none is deleted.
        """
        named = [sources] if isinstance(sources, str | Path) else sources
        plain = [str(source) for source in named]
        check_utf8(plain, "a source")
        return indexing.remove(self.store, plain)

    def search(
        self, question: str, k: int | None = None, where: str | None = None
    ) -> list[Passage]:
        """Return the best passages, best first, without a language model.

        Args:
            k: How many; default: ``retrieve.k``.
            where: Condition on the metadata, such as ``year >= 2020 and team = 'billing'``.

        Raises:
            UserError: The condition is invalid.
        """
        return self._opened().answerer.passages(question, where, k)

    def ask(
        self,
        question: str,
        k: int | None = None,
        where: str | None = None,
        *,
        follow_up: bool = False,
    ) -> Answer:
        """Answer a question with checked citations; see ``tailor ask --help``.

        Args:
            follow_up: Whether it continues the questions before it.

        Raises:
            UserError: The question is empty, or a model or an endpoint fails.
        """
        conversation = self._opened()
        if not follow_up:
            conversation.history.clear()
        return conversation.ask(question, where, k)

    def verify(self) -> maintenance.Verified:
        """Check for missing or damaged documents; `problems` is empty if all is well."""
        return maintenance.verify(self.store)

    def documents(self) -> list[dict[str, Any]]:
        """Return every document: source, title, chunks, digest."""
        return maintenance.listed(self.store)

    def _settings(self) -> Any:
        return self.config.index.override(self.store.settings)

    def _opened(self) -> "Conversation":
        if self._conversation is None:
            from tailorbird.flows.ask import make_writer
            from tailorbird.rag.answerer import Answerer, Conversation

            writer = make_writer(self.config)
            self._conversation = Conversation(Answerer(self.store, self.config, writer))
        return self._conversation


def _documents(items: Iterable[Mapping[str, Any]]) -> list[Document]:
    faults = Faults()
    documents = []
    for number, item in enumerate(items, start=1):
        for key in item:
            if key not in _KEYS:
                fix = "put it into 'metadata', or name one of: " + ", ".join(_KEYS)
                faults.add(f"text {number} has {key!r}{did_you_mean(key, _KEYS)}", fix)
        text, metadata = item.get("text"), item.get("metadata") or {}
        if not isinstance(text, str) or not text.strip():
            faults.add(f"text {number} has no words", "give them as {'text': ...}")
            continue
        for key, value in metadata.items():
            if not isinstance(value, _PLAIN):
                kind = type(value).__name__
                fix = "give a text, a number, true, false or None"
                faults.add(f"text {number}: metadata {key!r} is a {kind}", fix)
                break
        else:
            documents.append(_document(item, text, dict(metadata)))
    faults.raise_if_any()
    return documents


def _document(item: Mapping[str, Any], text: str, metadata: dict[str, Any]) -> Document:
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    source = str(item.get("source") or f"text-{digest[:16]}")
    title = str(item.get("title") or "")
    check_utf8({"source": source, "title": title, "metadata": metadata}, "a document")
    document = Document(source, text, title, (), metadata)
    return replace(document, digest=document_digest(document))
