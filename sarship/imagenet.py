"""ImageNet weights of backbones: which file, for which inputs, and by which names."""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor
from torchvision import models as zoo

from sarship.command import UserError

# Channel means and deviations that torchvision's ImageNet weights were trained with (torchvision.models docs).
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Weights:
    """A file of weights. url: where it is downloaded from, once. mean, std: of the inputs that it was trained with.

    renamed: what names in the file begin with, and what they begin with in the backbone; the first that fits counts.
    """

    url: str
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    renamed: tuple[tuple[str, str], ...] = (("features.", ""),)

    @property
    def path(self) -> Path:
        """Where torch.hub keeps the file."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rpartition("/")[2]

    def read(self, model: str) -> dict[str, Tensor]:
        """What the file holds, by the backbone's names; what is no part of the backbone keeps its own.

        Raises UserError, for the model of that name, if the download fails or the file is damaged.
        """
        try:
            state = torch.hub.load_state_dict_from_url(self.url, map_location="cpu", check_hash=True, weights_only=True)
        except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
            if self.path.exists():
                raise UserError(
                    f"{self.path}: is damaged ({type(error).__name__}); replace it by {self.url}"
                ) from error
            raise UserError(
                f"{model}: ImageNet weights could not be downloaded ({error}); put {self.path.name} "
                f"into {self.path.parent}, or choose --backbone trained, random or a file"
            ) from error
        return {self._name_here(name): value for name, value in state.items()}

    def _name_here(self, name: str) -> str:
        for theirs, ours in self.renamed:
            if name.startswith(theirs):
                return ours + name.removeprefix(theirs)
        return name


VGG16 = Weights(zoo.VGG16_Weights.IMAGENET1K_V1.url)
RESNET50 = Weights(zoo.ResNet50_Weights.IMAGENET1K_V1.url)
NASNET_MOBILE = Weights(
    "http://data.lip6.fr/cadene/pretrainedmodels/nasnetamobile-7e03cead.pth", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
)
MOBILENET_V3 = Weights(zoo.MobileNet_V3_Large_Weights.IMAGENET1K_V1.url)
EFFICIENTNET_B0 = Weights(zoo.EfficientNet_B0_Weights.IMAGENET1K_V1.url)
CONVNEXT_TINY = Weights(
    zoo.ConvNeXt_Tiny_Weights.IMAGENET1K_V1.url, renamed=(("features.", ""), ("classifier.0.", "norm."))
)
VIT_B_16 = Weights(
    zoo.ViT_B_16_Weights.IMAGENET1K_V1.url,
    renamed=(
        ("encoder.layers.", ""),
        ("encoder.ln.", "map.ln."),
        ("encoder.", "tokens."),
        ("conv_proj.", "tokens.conv_proj."),
        ("class_token", "tokens.class_token"),
    ),
)
