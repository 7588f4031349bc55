"""Where a checkpoint can come from, in the order to try. Pure: opens neither file nor socket."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

from hornet_convert.errors import UsageError, printable
from hornet_convert.family.zoo import Published

SourceName = Literal["mirror", "openmmlab", "official", "official-previous"]
Pin = Literal["auto", "mirror", "openmmlab", "official"]

INDEX_NAME = "index.json"


@dataclass(frozen=True)
class Source:
    """One place to ask.

    `address` is the file's URL; for a mirror the base URL or the absolute path of a directory.
    """

    name: SourceName
    address: str

    @property
    def is_directory(self) -> bool:
        """Whether this is a local directory, read in place."""
        return self.name == "mirror" and not is_url(self.address)

    @property
    def location(self) -> str:
        """The address without user name and password: fit to be shown and recorded."""
        return without_credentials(self.address)

    def url_of(self, file: str) -> str:
        """URL or path of one file of a mirror."""
        if self.is_directory:
            return str(Path(self.address) / file)
        parts = urlsplit(self.address)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(file)}"))


def sources_for(model: Published, *, mirror: str | None = None, pin: Pin = "auto") -> list[Source]:
    """Sources of one model, the first to try first.

    Parameters
    ----------
    model
        The row of the table.
    mirror
        http(s) URL of a folder, or a local directory; tried before all others.
    pin
        One source alone; `official` stands for the authors' current and previous link.

    Raises
    ------
    UsageError
        The mirror is neither a URL nor a path, or is pinned and not given.
    """
    current, *previous = model.official_urls
    official = [
        Source("official", current),
        *(Source("official-previous", url) for url in previous),
    ]
    openmmlab = [Source("openmmlab", model.openmmlab_url)]
    own = [] if mirror is None else [_mirror(mirror)]
    if pin == "mirror" and not own:
        raise UsageError(
            "the source is to be the mirror, and no mirror is given",
            hint="Name it with --mirror URL_OR_DIR or HORNET_CONVERT_MIRROR.",
        )
    return {
        "auto": own + openmmlab + official,
        "mirror": own,
        "openmmlab": openmmlab,
        "official": official,
    }[pin]


def is_url(text: str) -> bool:
    """Whether this is an http or https URL; anything else is a path."""
    return text.lower().startswith(("http://", "https://"))


def without_credentials(url: str) -> str:
    """The URL without the `user:password@` it may carry."""
    scheme, slashes, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if not is_url(url) or "@" not in host:
        return url
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def _mirror(text: str) -> Source:
    if is_url(text):
        try:
            parts = urlsplit(text)
            usable = parts.hostname is not None and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable:
            raise UsageError(
                "the mirror is not a usable URL",
                found=printable(without_credentials(text)) if "@" not in text else None,
                hint="Give the folder that holds the files, as http(s)://host/folder.",
            )
        path = parts.path.removesuffix(INDEX_NAME).rstrip("/")
        return Source("mirror", urlunsplit(parts._replace(path=path, fragment="")))
    if "://" in text or not text.strip() or "\0" in text:
        raise UsageError(
            "a mirror is an http(s) URL or a directory",
            found=printable(text),
            hint="For files on this machine, give the path of their directory.",
        )
    return Source("mirror", str(home_expanded(text, "--mirror")))


def home_expanded(text: str | os.PathLike[str], option: str) -> Path:
    """The absolute path that a user means by one that may start with `~` or `~user`.

    Raises UsageError, naming the option, if there is no such user.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise UsageError(
            "the path begins with the home folder of a user who is not known",
            found=printable(str(text)),
            hint=f"Give the whole path with {option}; "
            "a name that does begin with ~ is written ./~name.",
        ) from error
