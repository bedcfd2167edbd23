"""`tailor index`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tailorbird import terminal
from tailorbird.cli import shared_options as options
from tailorbird.cli.flags_to_config import make_config
from tailorbird.cli.show_results import show_index


def index(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files, folders and globs to index.")
    ] = None,
    store: Annotated[str, typer.Option(help="Folder of the knowledge base.")] = "",
    embedder: Annotated[
        str | None, typer.Option(help="Embedding model; a new one embeds all documents again.")
    ] = None,
    sync: Annotated[
        bool, typer.Option("--sync", help="Delete documents that are gone from the given folders.")
    ] = False,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", help="Document, file or folder to delete. Repeatable."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the documents.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check for damage.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild the index from the ledger.")
    ] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Show counts and sizes.")] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the previous embedder.")
    ] = False,
    move_to: Annotated[
        str | None,
        typer.Option("--move-to", help="Move to another store, such as postgresql://HOST/DB."),
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="Read and embed on the Ray cluster at HOST:PORT.")
    ] = None,
    config: options.ConfigFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, e.g. --set index.chunk_tokens=128. Repeatable."),
    ] = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Put documents into a knowledge base, or update it.

    Example: `tailor index docs/ --store KB`
    """
    from tailorbird.errors import UserError
    from tailorbird.flows import index as flow
    from tailorbird.knowledge import maintenance
    from tailorbird.knowledge.base import KnowledgeFolder

    if not store:
        raise UserError("--store is missing", "name the knowledge base's folder: --store KB")
    work = paths or remove or list_ or verify or repair or stats or rollback or move_to
    whole = make_config(config, settings, {"index.embedder": embedder, "compare.ray": ray})
    own, place = whole.index, whole.knowledge.store
    embedder = own.embedder if "embedder" in own.model_fields_set else None
    if not (work or embedder):
        raise UserError("there is nothing to index", "name files or folders: tailor index docs/")
    # A new folder is created only if there is something to index.
    start = own if paths else None
    with KnowledgeFolder(Path(store), start, repairing=repair, store=place) as kb:
        result = _change(kb, repair, rollback, embedder, remove)
        if paths:
            settled = own.override(kb.settings)
            result["indexed"] = flow.index(kb, paths, settled, sync, whole.compare.ray).to_json()
        result |= _look(kb, list_, stats, verify)
        if move_to:
            result["moved"] = maintenance.move_to(kb, move_to)
    print(terminal.as_json(result)) if json else show_index(result)
    if not result.get("verified", {}).get("ok", True):
        raise typer.Exit(1)


def _change(
    kb: Any, repair: bool, rollback: bool, embedder: str | None, remove: list[str] | None
) -> dict[str, Any]:
    from tailorbird.flows import index as flow
    from tailorbird.knowledge import maintenance

    result: dict[str, Any] = {}
    if repair:
        result["repaired"] = {"chunks": maintenance.repair(kb)}
    if rollback:
        result["generation"] = kb.rollback()
    if embedder and not kb.adopts(embedder):
        result["generation"] = maintenance.change_embedder(kb, embedder)
    if remove:
        result["removed"] = flow.remove(kb, remove)
    return result


def _look(kb: Any, list_: bool, stats: bool, verify: bool) -> dict[str, Any]:
    from tailorbird.knowledge import maintenance

    result: dict[str, Any] = {}
    if list_:
        result["documents"] = maintenance.listed(kb)
    if stats:
        result["stats"] = maintenance.stats(kb)
    if verify:
        check = maintenance.verify(kb)
        result["verified"] = {"ok": not check.problems} | asdict(check)
    return result
