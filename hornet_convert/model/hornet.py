"""The reference HorNet: the paper's definition in plain PyTorch, keys in the `reference` layout.

Source: Rao et al., "HorNet", NeurIPS 2022, arXiv 2207.14284, section 3 and table 6.
"""

# No `from __future__ import annotations`: what torch.fx traces can then be scripted by TorchScript.

from collections.abc import Iterable
from typing import Any, TypedDict

import torch
import torch.fx
import torch.utils._device  # `with torch.device` imports it, on whatever thread that is
from torch import Tensor, nn

from hornet_convert.family import zoo
from hornet_convert.family.architecture import DEPTHS, LAYER_SCALE_INIT, ORDERS, Architecture
from hornet_convert.family.pretrained_cfg import pretrained_cfg
from hornet_convert.model.blocks import Block, Head, Stage, required_classes, required_pool
from hornet_convert.model.layers import INIT_STD, ChannelNorm, Device, GlobalLocalFilter
from hornet_convert.model.sharing import Shared

MIN_SIDE = 32
STRIDES = (4, 8, 16, 32)  # pixels of the image to one of a stage's map, on each axis


class Feature(TypedDict):
    """One map: its channels, how many pixels one of its pixels stands for, what it comes out of."""

    num_chs: int
    reduction: int
    module: str


@torch.fx.wrap
def require_images(x: Tensor, channels: int, side: int = MIN_SIDE) -> Tensor:
    """The same, if it is (N, channels, H, W), H and W at least `side`; else ValueError."""
    if x.ndim != 4 or x.shape[1] != channels or x.shape[2] < side or x.shape[3] < side:
        raise ValueError(
            f"expected images (N, {channels}, H, W), H and W at least {side}, got {list(x.shape)}"
        )
    return x


def stage_maps(
    stem: nn.Module, stages: Iterable[nn.Module], x: Tensor, channels: int
) -> list[Tensor]:
    """Images (N, channels, H, W) to the maps after each of the stages; ValueError for others."""
    x = stem(require_images(x, channels))
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return maps


class HorNet(Shared):
    """HorNet of any width, plain or with global-local filters, with the manners of a timm model.

    The state dict has exactly the names and shapes of `architecture.shapes(num_classes)`, but for
    `in_chans`. `feature_info` describes the maps after each stage, `num_features` and
    `head_hidden_size` are the channels of the last, `pretrained_cfg` (also `default_cfg`) is what
    timm's tools ask about the published model: its images, its classes, where it comes from.

    Parameters
    ----------
    architecture
        The width and the image size that the filters are made for, or a model's name, such as
        "tiny-gf", as `create_model` takes them.
    num_classes
        Outputs of the classifier; None or 0 for none: the model then returns pooled features.
    in_chans
        Channels of the images.
    global_pool, drop_rate
        How the head pools, see `Head`; the probability of dropping a pooled feature in training.
    drop_path_rate
        Probability of dropping a block's term in training, growing linearly from 0 in the first
        block to this in the last.
    layer_scale_init
        Initial value of the layer scales γ.
    device, dtype
        As in any module: on the meta device nothing is allocated, and global-local filters keep
        their spectra in float32 at lower precisions.
    """

    def __init__(
        self,
        architecture: Architecture | str,
        num_classes: int | None = 1000,
        *,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        layer_scale_init: float = LAYER_SCALE_INIT,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= drop_path_rate < 1:
            raise ValueError(f"drop_path_rate is a probability below 1, not {drop_path_rate}")
        if in_chans < 1:
            raise ValueError(f"in_chans is positive, not {in_chans}")
        if isinstance(architecture, str):
            architecture = zoo.architecture_of(architecture)
        self.architecture = architecture
        self.num_classes = required_classes(num_classes)
        self.in_chans = in_chans
        widths = architecture.widths
        self.num_features = self.head_hidden_size = widths[-1]
        self.feature_info = [
            Feature(num_chs=width, reduction=stride, module=f"stages.{stage}")
            for stage, (width, stride) in enumerate(zip(widths, STRIDES, strict=True))
        ]
        self.pretrained_cfg = self.default_cfg = pretrained_cfg(architecture)
        rates = [drop_path_rate * block / (sum(DEPTHS) - 1) for block in range(sum(DEPTHS))]
        starts = [sum(DEPTHS[:stage]) for stage in range(len(DEPTHS))]
        # Everything is laid out on the meta device first, so that no weight is initialised twice.
        with torch.device("meta"):
            self.stem = nn.Sequential(
                nn.Conv2d(in_chans, widths[0], 4, stride=4), ChannelNorm(widths[0])
            )
            self.stages = nn.Sequential(
                *(
                    Stage(
                        dim,
                        ORDERS[stage],
                        dim_in=widths[stage - 1] if stage else None,
                        spectrum=architecture.filter_shape(stage),
                        drop_path=rates[starts[stage] : starts[stage] + DEPTHS[stage]],
                        layer_scale_init=layer_scale_init,
                    )
                    for stage, dim in enumerate(widths)
                )
            )
            self.head = Head(
                widths[-1], self.num_classes, global_pool=global_pool, drop_rate=drop_rate
            )
        if dtype is not None:
            self.to(dtype=dtype)
        device = torch.get_default_device() if device is None else torch.device(device)
        if device.type != "meta":
            # Not `to_empty`: like `to` it cannot be used in a FakeTensorMode.
            for module in self.modules():
                for name, laid_out in module.named_parameters(recurse=False):
                    empty = torch.empty_like(laid_out, device=device)
                    module.register_parameter(name, nn.Parameter(empty))
            self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W), H and W from 32 up, to logits (N, classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) to the last stage's map (N, 8 C, H // 32, W // 32)."""
        y: Tensor = self.stages(self.stem(require_images(x, self.in_chans)))
        return y

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The last stage's map to logits (N, classes), or to what the classifier would be given."""
        y: Tensor = self.head(x, pre_logits)
        return y

    def feature_maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to the maps after each stage, at 1/4, 1/8, 1/16, 1/32 of the size."""
        return tuple(stage_maps(self.stem, self.stages, x, self.in_chans))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The maps after some stages, in their order, and what `forward_features` gives.

        Parameters
        ----------
        x
            Images (N, 3, H, W).
        indices
            Stages, from the end if negative; a number n for the last n; None for all.
        norm
            Without effect: the final norm comes after the pooling.
        stop_early
            Leave out the stages after the last that is asked for.
        output_fmt
            "NCHW"; others raise ValueError.
        intermediates_only
            Return the list of maps alone.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt is 'NCHW', not {output_fmt}")
        taken = self._taken(indices)
        last = max(taken)
        maps: list[Tensor] = []
        x = self.stem(require_images(x, self.in_chans))
        for number, stage in enumerate(self.stages):
            if number <= last or not stop_early:
                x = stage(x)
                if number in taken:
                    maps.append(x)
        if intermediates_only:
            return maps
        return x, maps

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove the stages after the last of `indices`, and the head that they leave useless.

        Returns the indices as stages from the beginning. With `prune_head` the head goes even when
        all stages stay; `prune_norm` changes nothing, the final norm being part of the head.
        """
        taken = self._taken(indices)
        shorter = max(taken) + 1 < len(self.stages)
        del self.stages[max(taken) + 1 :]
        if prune_head or shorter:
            self.num_features = self.head_hidden_size = self.feature_info[max(taken)]["num_chs"]
            self.head.norm = nn.Identity().train(self.training)
            self.reset_classifier(0, "")
        return taken

    def _taken(self, indices: int | list[int] | None) -> list[int]:
        """Stages asked for, counted from the beginning; raises ValueError for one there is not."""
        count = len(self.stages)
        if indices is None:
            taken = list(range(count))
        elif isinstance(indices, int):
            taken = list(range(count - indices, count))
        else:
            taken = [index + count if index < 0 else index for index in indices]
        if len(taken) == 0 or min(taken) < 0 or max(taken) >= count:
            raise ValueError(f"indices are stages, {-count} to {count - 1}, not {indices}")
        return taken

    def get_classifier(self) -> nn.Module:
        """The classifier, `nn.Identity` if there is none."""
        return self.head.fc

    def reset_classifier(self, num_classes: int | None, global_pool: str | None = None) -> None:
        """Replace the classifier by a fresh one, or by none for None and 0.

        `global_pool` changes how the head pools; None leaves it as it is.
        """
        self.num_classes = required_classes(num_classes)
        if global_pool is not None:
            self.head.global_pool = required_pool(global_pool)
        self.head.fc = nn.Identity()
        if self.num_classes:
            like = next(self.parameters())
            self.head.fc = nn.Linear(
                self.num_features, self.num_classes, device=like.device, dtype=like.dtype
            )
            nn.init.normal_(self.head.fc.weight, std=INIT_STD)
            nn.init.zeros_(self.head.fc.bias)
        self.head.fc.train(self.training)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether training keeps the activations inside blocks, or computes them twice."""
        for module in self.modules():
            if isinstance(module, Stage):
                module.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that sort the parameters into layers, the first nearest to the image.

        For layer-wise learning rates; a stage's downsampling goes with its first block. `coarse`
        makes each stage one layer. What matches nothing, the head, is the last.
        """
        fine = [(r"stages\.(\d)\.downsample\.", (0,)), (r"stages\.(\d)\.blocks\.(\d+)\.", None)]
        return {"stem": r"stem\.", "stages": r"stages\.(\d)\." if coarse else fine}

    def no_weight_decay(self) -> set[str]:
        """Parameters that training must not pull to zero: norms, biases and layer scales."""
        return {name for name, parameter in self.named_parameters() if parameter.ndim < 2}

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise as for training: weights normal with deviation 0.02, biases 0, γ small.

        The authors' truncation at ±2 lies at 100 deviations and is left out.
        """
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.normal_(std=INIT_STD, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, GlobalLocalFilter):
                module.complex_weight.normal_(std=INIT_STD, generator=generator)
            elif isinstance(module, Block):
                module.gamma1.fill_(module.layer_scale_init)
                module.gamma2.fill_(module.layer_scale_init)
