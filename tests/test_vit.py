"""sarship/vit.py: a vision transformer that ends in a map, beside torchvision's own."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from models import ShipNetwork
from sarship.cams import activation_maps
from sarship.heads import linear_head
from sarship.vit import vit_layers


def small_transformer(image_size: int) -> VisionTransformer:
    """With positions that matter and the class token's own start."""
    torch.manual_seed(0)
    whole = VisionTransformer(image_size, 16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=48)
    nn.init.normal_(whole.encoder.pos_embedding)
    nn.init.normal_(whole.class_token)
    return whole.eval()


@pytest.mark.parametrize("size", [32, 64, 100, 224, 256])
def test_transformer_tokens_are_those_of_torchvision(size):
    """Whose own network has to be built for the size, with positions that were interpolated before."""
    whole = small_transformer(224)
    layers = vit_layers(whole).eval()
    used = size - size % 16  # torchvision refuses what does not fill a patch
    other = small_transformer(used)
    other.load_state_dict(interpolate_embeddings(used, 16, whole.state_dict()))
    chips = torch.rand(2, 3, size, size)
    tokens = []
    other.encoder.register_forward_hook(lambda module, inputs, output: tokens.append(output))
    other(chips[..., :used, :used])
    expected = tokens[0][:, 1:].transpose(1, 2).reshape(2, 32, used // 16, used // 16)
    assert torch.allclose(layers(chips), expected, atol=1e-5)


def test_a_transformer_refuses_chips_that_are_not_square():
    with pytest.raises(ValueError, match="square chips, not 32 x 128"):
        vit_layers(small_transformer(224))(torch.rand(1, 3, 32, 128))


def test_grad_cam_looks_at_the_map_of_a_transformer():
    network = ShipNetwork(vit_layers(small_transformer(224)), linear_head(32, 3), "features.map").eval()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64), np.uint8)
    maps = activation_maps(network, network.cam_layer, pixels, None, "gradcam", 2)
    assert maps.cells == (4, 4) and maps.heat.shape == (2, 64, 64)
    assert maps.heat.max() > 0.9
