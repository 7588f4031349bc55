"""Models on the Hugging Face Hub: fetched into the Hub's own cache, and uploaded.

All by huggingface_hub (`pip install 'hornet-convert[hub]'`), so that HF_ENDPOINT, HF_TOKEN,
HF_HUB_OFFLINE and HF_HOME count as ever. What comes is a file like any other, read by our reader.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hornet_convert.checkpoint.folder import CONFIG, WEIGHTS
from hornet_convert.checkpoint.shards import SUFFIX, files_of
from hornet_convert.download.edges import network_is_off
from hornet_convert.errors import HornetConvertError, SourceUnreachableError, UsageError
from hornet_convert.text import printable

SCHEME: Final = "hf://"

_ADDRESS: Final = re.compile(
    r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/]+))?(?:/(?P<file>.+))?"
)


def weights_of(
    address: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> Path:
    """A repository's weights in the Hub's cache, with its `config.json` and all shards beside them.

    `address` is ORG/REPO[@REVISION][/FILE]; without a file the weights have one of the names in
    `checkpoint/folder.py`. All are of one commit. `token`, `cache` and `offline` as `token`,
    `cache_dir` and `local_files_only` of huggingface_hub; HORNET_CONVERT_OFFLINE counts too.

    Raises UsageError if the address is none or huggingface_hub is not installed,
    SourceUnreachableError if it cannot be had, MalformedError for an index that is none.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or (match["revision"] and revision):
        raise UsageError(
            "not a repository of the Hub",
            expected="ORG/REPO, or hf://ORG/REPO[@REVISION][/FILE], and one revision",
            found=printable(address),
            hint="A folder has to be there; a published model is what `create_model` gives.",
        )
    _require_library()
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    commit = revision or match["revision"]
    offline = offline or network_is_off()

    def fetched(name: str) -> Path | None:
        nonlocal commit, offline
        try:
            path = Path(
                hf_hub_download(
                    match["repo"],
                    name,
                    revision=commit,
                    token=token,
                    cache_dir=None if cache is None else os.fspath(cache),
                    local_files_only=offline,
                )
            )
        except EntryNotFoundError as error:
            # A Hub that does not answer is asked once, with all the patience of the library.
            offline = offline or isinstance(error, LocalEntryNotFoundError)
            missing.append(error)
            return None
        # What follows is of the same commit, whatever is pushed meanwhile.
        commit = path.parents[name.count("/")].name
        return path

    missing: list[Exception] = []
    names = WEIGHTS if match["file"] is None else (match["file"],)
    with _errors("the Hub does not give the model", f"{SCHEME}{address}"):
        if match["file"] is None:
            fetched(CONFIG)
        weights = next((path for path in map(fetched, names) if path is not None), None)
        folder = (match["file"] or "").rpartition("/")[0]
        shards = files_of(weights) if weights and weights.name.endswith(SUFFIX) else ()
        if weights is None or None in [fetched(f"{folder}/{each}".lstrip("/")) for each in shards]:
            wanted = names if weights is None else shards
            raise _no_weights(address, " or ".join(wanted), missing)
        return weights


def _no_weights(address: str, wanted: str, missing: Sequence[Exception]) -> SourceUnreachableError:
    from huggingface_hub.errors import LocalEntryNotFoundError

    what, hint = "the Hub has no such weights", "Of a file by another name: hf://ORG/REPO/FILE."
    unanswered = [error for error in missing if isinstance(error, LocalEntryNotFoundError)]
    if unanswered:
        what = "the Hub is not asked or does not answer, and its cache has no such weights"
        hint = "Check the network and HF_ENDPOINT, or load it once with a connection."
    return SourceUnreachableError(
        what,
        where=printable(f"{SCHEME}{address}"),
        expected=wanted,
        found=_first_line((*unanswered, missing[-1])[0]),
        hint=hint,
    )


def upload(
    folder: Path,
    repository: str,
    *,
    revision: str | None = None,
    message: str,
    private: bool | None = None,
    token: str | bool | None = None,
    create_pr: bool = False,
    files: Sequence[str] | None = None,
) -> str:
    """Put a folder's files into a repository, which is made if need be; the URL of the commit.

    `files` are the names of those to take, if not all. Other arguments as for huggingface_hub's
    `create_repo` and `upload_folder`; a branch `revision` is made, too. Raises UsageError if
    huggingface_hub is not installed, SourceUnreachableError if the Hub cannot be reached or does
    not let you.
    """
    _require_library()
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with _errors("the Hub does not take the model", f"{SCHEME}{repository}"):
        where = api.create_repo(repository, private=private, exist_ok=True).repo_id
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(where, branch=revision, exist_ok=True)
        done = api.upload_folder(
            repo_id=where,
            folder_path=folder,
            commit_message=message,
            revision=revision,
            create_pr=create_pr,
            allow_patterns=None if files is None else list(files),
        )
    return done.pr_url or done.commit_url


def require_repository(name: str) -> None:
    """Raise UsageError unless this is the name of a repository, and huggingface_hub is there."""
    _require_library()
    match = _ADDRESS.fullmatch(name)
    if match is None or match["repo"] != name:
        raise UsageError(
            "this is no name of a repository", expected="ORG/REPO", found=printable(name)
        )


def _require_library() -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UsageError(
            "the Hub needs huggingface_hub, which is not installed",
            hint="Install it with: pip install 'hornet-convert[hub]'.",
        )


@contextlib.contextmanager
def _errors(what: str, where: str) -> Iterator[None]:
    """Turn whatever the library raises into an error of ours."""
    try:
        yield
    except HornetConvertError:
        raise
    except Exception as error:
        from huggingface_hub.errors import HFValidationError

        if isinstance(error, HFValidationError):
            raise UsageError(
                "not the name of a repository", where=printable(where), found=_first_line(error)
            ) from error
        raise SourceUnreachableError(
            what,
            where=printable(where),
            found=_first_line(error),
            hint="Check the name and the network; what is private or gated, and every upload, "
            "needs a token: set HF_TOKEN, or run `hf auth login`.",
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return printable(f"{type(error).__name__}: {lines[0].rstrip('. ')}", 300)
