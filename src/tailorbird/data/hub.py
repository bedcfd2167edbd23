"""Data sets on the Hugging Face hub: looked up, and only the files of their splits fetched."""

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tailorbird import log
from tailorbird.data.split_files import CARD, data_files, folder_splits, names_within, split_files
from tailorbird.errors import UserError

_NAME = re.compile(
    r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(:(?P<subset>[\w.+-]+))?(@(?P<revision>[\w./-]+))?"
)
_CONVERTED = "refs/convert/parquet"
"""Where the hub keeps every public set as Parquet, also those that are made by a script."""
_PATIENCE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Address:
    """``owner/name[:subset][@revision]``."""

    repo: str
    subset: str | None
    revision: str | None


def hub_address(name: str) -> Address | None:
    """Return the data set that a name may mean, None if it cannot be one."""
    match = _NAME.fullmatch(name)
    return Address(match["repo"], match["subset"], match["revision"]) if match else None


@lru_cache(maxsize=8)
def hub_splits(address: Address) -> dict[str, tuple[Path, ...]]:
    """Return the files of each split, fetched into the hub's own cache.

    Without a network, the copy in the cache is used, with a message.

    Raises:
        UserError: There is no such set, it may not be read, or there is no network and no copy.
    """
    from huggingface_hub import constants, errors

    if not constants.HF_HUB_OFFLINE:
        try:
            return _download(address)
        except errors.GatedRepoError:
            raise UserError(
                f"{address.repo}: its owner asks readers to sign in",
                f"accept its terms on huggingface.co/datasets/{address.repo}, then: hf auth login",
            ) from None
        except errors.RepositoryNotFoundError:
            raise UserError(
                f"{address.repo}: there is no such file or folder here, and no such public data "
                "set on the Hugging Face hub",
                "check the name; for a private set: hf auth login",
            ) from None
        except errors.RevisionNotFoundError:
            raise UserError(
                f"{address.repo} has no branch, tag or commit {address.revision!r}",
                "leave @REVISION out, or look at the set's page",
            ) from None
        except UserError:
            raise
        except Exception as error:
            # The client's own transport errors, of whichever package it stands on.
            package = type(error).__module__.partition(".")[0]
            if not (isinstance(error, OSError) or package.startswith(("httpx", "huggingface_hub"))):
                raise
            why = _short(error)
    else:
        why = "HF_HUB_OFFLINE is set"
    splits = _cached_splits(address)
    if splits is None:
        raise UserError(
            f"{address.repo}: there is no such file or folder here, and the Hugging Face hub "
            f"cannot be asked ({why})",
            "check the path; or fetch the set where there is a network "
            f"(hf download {address.repo} --repo-type dataset) and name the folder",
        )
    log.say(f"{address.repo}: the copy on this machine is taken, as the hub cannot be asked: {why}")
    return splits


def _download(address: Address) -> dict[str, tuple[Path, ...]]:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    api = HfApi()

    def get(names: Sequence[str], revision: str | None) -> Path:
        folder = snapshot_download(
            address.repo, repo_type="dataset", revision=revision, allow_patterns=list(names)
        )
        return Path(folder)

    def listed(revision: str | None) -> list[str]:
        # One question without the client's own repeats: with no network they take half a minute.
        info = api.dataset_info(address.repo, revision=revision, timeout=_PATIENCE_SECONDS)
        return [file.rfilename for file in info.siblings or ()]

    names = listed(address.revision)
    card = ""
    if CARD in names:
        path = hf_hub_download(address.repo, CARD, repo_type="dataset", revision=address.revision)
        card = Path(path).read_text(encoding="utf-8", errors="replace")
    if data_files(names):
        splits = split_files(address.repo, names, card, address.subset)
        return _fetch(splits, lambda files: get(files, address.revision))
    splits = _parquet_splits(address, listed(_CONVERTED))
    return _fetch(splits, lambda files: get(files, _CONVERTED))


def _fetch(
    splits: dict[str, tuple[str, ...]], get: Callable[[Sequence[str]], Path]
) -> dict[str, tuple[Path, ...]]:
    every = [name for files in splits.values() for name in files]
    log.say(f"fetching {len(every):,} files from the Hugging Face hub, unless they are here ...")
    return _within(get(every), splits)


def _parquet_splits(address: Address, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the splits of the hub's own Parquet files: ``subset/split/0000.parquet``."""
    subsets: dict[str, dict[str, list[str]]] = {}
    for name in sorted(names):
        parts = name.split("/")
        if len(parts) == 3 and name.endswith(".parquet"):
            subsets.setdefault(parts[0], {}).setdefault(parts[1], []).append(name)
    subset = address.subset or ("default" if "default" in subsets else None)
    if subset is None and len(subsets) == 1:
        subset = next(iter(subsets))
    if subset not in subsets:
        choices = ", ".join(sorted(subsets)[:20]) or "none that can be read"
        raise UserError(
            f"{address.repo}: which subset? It has: {choices}",
            f"name one after a colon: {address.repo}:SUBSET",
        )
    return {split: tuple(files) for split, files in subsets[subset].items()}


def _cached_splits(address: Address) -> dict[str, tuple[Path, ...]] | None:
    """Return the splits among the files that lie in the hub's cache, None if there are none."""
    for revision in (address.revision,) if address.revision else ("main", _CONVERTED):
        folder = _cached_folder(address.repo, revision)
        if folder is not None and data_files(names := names_within(folder)):
            if revision != _CONVERTED:
                return folder_splits(folder, address.repo, address.subset)
            return _within(folder, _parquet_splits(address, names))
    return None


def _cached_folder(repo: str, revision: str) -> Path | None:
    """Return the cache's folder of a branch, tag or commit: all of it, or some of its files."""
    from huggingface_hub import errors, scan_cache_dir

    with contextlib.suppress(errors.CacheNotFound):
        for entry in scan_cache_dir().repos:
            if (entry.repo_type, entry.repo_id) == ("dataset", repo):
                for commit in entry.revisions:
                    if revision in (*commit.refs, commit.commit_hash):
                        return Path(commit.snapshot_path)
    return None


def _within(folder: Path, splits: dict[str, tuple[str, ...]]) -> dict[str, tuple[Path, ...]]:
    return {split: tuple(folder / name for name in files) for split, files in splits.items()}


def _short(error: Exception) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:120]
