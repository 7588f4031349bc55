"""`from_pretrained`, `save_pretrained`, `push_to_hub`: the manners of a model on the Hub."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, cast

import torch
from torch import nn

from hornet_convert.download.hub import SCHEME, upload
from hornet_convert.model.layers import Device
from hornet_convert.model.located import located

if TYPE_CHECKING:
    from hornet_convert.model.hornet import HorNet


class Shared(nn.Module):
    """A HorNet that goes to folders and to the Hub, and comes back."""

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        num_classes: int | Literal["own"] | None = "own",
        drop_path: float = 0.0,
        seed: int | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a model, in eval mode, from the Hub or a folder.

        Parameters
        ----------
        name
            A folder or file that is there, else ORG/REPO on the Hub, or hf://ORG/REPO. Weights are
            `model.safetensors`, the shards of its index, or `pytorch_model.bin`, in any layout;
            they are read by the reader of this package, which runs nothing that is in them.
        revision
            A branch, tag or commit of the repository; `main` if nothing is said.
        num_classes, drop_path, seed, device, dtype
            As for `load_model`.
        token, cache_dir, local_files_only
            As for huggingface_hub, which does the fetching and keeps what it fetched.

        Raises
        ------
        CheckFailedError
            The weights are not those of a HorNet, or of another one than `config.json` says.
        SourceUnreachableError
            The Hub does not give it.
        HornetConvertError
            All else that `load_model` raises.
        """
        from hornet_convert.model.load import load_model

        text = os.fspath(name)
        on_hub = text.startswith(SCHEME) or not Path(text).exists()
        where = located(
            f"{SCHEME}{text.removeprefix(SCHEME)}" if on_hub else text,
            revision=revision,
            token=token,
            cache=cache_dir,
            offline=local_files_only,
        )
        model = load_model(
            where,
            num_classes,
            drop_path=drop_path,
            seed=seed,
            device=device,
            dtype=dtype,
            kind=cast("type[HorNet]", cls),
        )
        return cast("Self", model)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `model.safetensors` and `config.json` to a folder, which is made if need be.

        `from_pretrained` and `load_model` read it, and timm. Raises CheckFailedError if the
        parameters are not those of a HorNet, DiskError if they cannot be written.
        """
        from hornet_convert.model.save import save

        save(cast("HorNet", self), folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        commit_message: str = "Upload a HorNet",
        private: bool | None = None,
        token: str | bool | None = None,
        create_pr: bool = False,
    ) -> str:
        """Put what `save_pretrained` writes into ORG/REPO on the Hub; the URL of the commit.

        The repository is made if need be, and so is the branch `revision`. The other arguments are
        those of huggingface_hub. Raises SourceUnreachableError if the Hub cannot be reached or does
        not let you, UsageError if huggingface_hub is not installed, and what `save_pretrained`
        does.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return upload(
                Path(folder),
                repo_id,
                revision=revision,
                message=commit_message,
                private=private,
                token=token,
                create_pr=create_pr,
            )
