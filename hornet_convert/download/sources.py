"""Where a checkpoint can come from, in the order to try. Pure: opens neither file nor socket."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from hornet_convert.errors import UsageError
from hornet_convert.family.zoo import Published
from hornet_convert.text import printable

SourceName = Literal["mirror", "openmmlab", "official", "official-previous"]
SourceChoice = Literal["auto", "mirror", "openmmlab", "official"]
Headers = tuple[tuple[str, str], ...]

INDEX_NAME: Final = "index.json"

_STORE: Final = re.compile(r"(?!https?:)([a-z][a-z0-9+.-]+)://\S", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """One place to ask.

    `address` is the file's URL; for a mirror the URL of the folder, or the absolute path of a
    directory. It may hold secrets: only `location` is ever shown or recorded. `headers` are sent
    with every request to its own host, and never recorded.
    """

    name: SourceName
    address: str
    headers: Headers = field(default=(), repr=False, compare=False)

    @property
    def is_directory(self) -> bool:
        """Whether this is a local directory, read in place."""
        return self.name == "mirror" and "://" not in self.address

    @property
    def store(self) -> str | None:
        """The scheme of a store that is not asked over HTTP by ourselves: `hf`, `s3`, …."""
        match = _STORE.match(self.address)
        return match[1].lower() if match else None

    @property
    def location(self) -> str:
        """The address without anything secret: what a source is known by."""
        return without_secrets(self.address)

    def url_of(self, file: str) -> str:
        """URL or path of one file of a mirror."""
        if self.is_directory:
            return str(Path(self.address) / file)
        parts = urlsplit(self.address)
        path = file if self.store else quote(file)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def sources_for(
    model: Published,
    *,
    mirrors: Sequence[str] = (),
    choice: SourceChoice = "auto",
    headers: Headers = (),
) -> list[Source]:
    """Sources of one model, the first to try first.

    `mirrors` are URLs of folders (http, https, hf, or any that fsspec knows) or local directories,
    tried before all others, in this order; `headers` are for them. `choice` is one source alone;
    `official` stands for the authors' current and previous link.

    Raises UsageError if a mirror is neither a URL nor a path, mirrors alone are asked for and none
    is given, or there is no such choice.
    """
    if choice not in get_args(SourceChoice):
        raise UsageError(
            "no such source",
            expected=", ".join(get_args(SourceChoice)),
            found=printable(repr(choice)),
        )
    current, *previous = model.official_urls
    official = [Source("official", current), *(Source("official-previous", u) for u in previous)]
    openmmlab = [Source("openmmlab", model.openmmlab_url)]
    ours = [_mirror(text, headers) for text in mirrors]
    if choice == "mirror" and not ours:
        raise UsageError(
            "the mirror is to be the only source, and none is named",
            hint="Name it with --mirror URL_OR_DIR or HORNET_CONVERT_MIRROR.",
        )
    return {
        "auto": ours + openmmlab + official,
        "mirror": ours,
        "openmmlab": openmmlab,
        "official": official,
    }[choice]


def without_secrets(address: str) -> str:
    """The address without what may be secret: `user:password@`, query and fragment.

    A path that is not text is written with escapes.
    """
    if "://" not in address:
        return address.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    scheme, _, rest = re.split(r"[?#]", address, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _mirror(text: str, headers: Headers) -> Source:
    if text.lower().startswith("file://"):
        return Source("mirror", unquote(urlsplit(text).path))
    if _STORE.match(text):
        return Source("mirror", text.rstrip("/"))
    if "://" not in text and text.strip() and "\0" not in text:
        return Source("mirror", str(home_expanded(text, "--mirror")))
    try:
        parts = urlsplit(text)
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            "the mirror is neither a usable URL nor a directory",
            found=printable(without_secrets(text)),
            hint="Give the folder that holds the files, as http(s)://host/folder or as a path.",
        )
    path = parts.path.removesuffix(INDEX_NAME).rstrip("/")
    return Source("mirror", urlunsplit(parts._replace(path=path, fragment="")), headers)


def require_directories(sources: Sequence[Source]) -> None:
    """Raise UsageError for a mirror that is a directory and is not there: a slip of the pen.

    Without it the next source would be asked, and be taken for the mirror.
    """
    for source in sources:
        if source.is_directory and not os.path.isdir(source.address):  # noqa: PTH112 - says no, never raises
            raise UsageError(
                "there is no such directory",
                where=f"--mirror {source.location}",
                hint="Check the path. A mirror on the network is written http(s)://host/folder; "
                "a checkpoint on this machine is for `hornet-convert convert FILE`.",
            )


def home_expanded(text: str | os.PathLike[str], option: str) -> Path:
    """The absolute path that a user means by one that may start with `~` or `~user`.

    Raises UsageError, naming the option, if there is no such user.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise UsageError(
            "the path starts with the home folder of an unknown user",
            found=printable(str(text)),
            hint=f"Give the whole path with {option}; "
            "a name that does begin with ~ is written ./~name.",
        ) from error
