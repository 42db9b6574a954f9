"""sarship/heads.py: from the last map to the logits."""

import pytest
import torch
from torch import nn

from models import MODELS, build
from sarship.command import UserError
from sarship.heads import land_use_head
from tests.hollow import hollow


@pytest.mark.parametrize("heads", ["fitted", "published"])
@pytest.mark.parametrize("name", MODELS)
def test_the_first_layer_of_a_head_has_no_weights(name, heads):
    """What it makes of a frozen backbone's maps is computed once."""
    if heads == "published" and MODELS[name].published_head is None:
        with pytest.raises(UserError, match=f"{name} is of no published study"):
            hollow(name, 3, 64, heads)
        return
    assert not hollow(name, 3, 64, heads).classifier[0].state_dict()


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7])
def test_the_land_use_head_pools_over_what_there_is(side):
    """Squeeze, the largest of 4 x 4 where there are as many, the mean of those; then 728, 256 and the classes."""
    head = land_use_head(12, 5).eval()
    maps = torch.rand(2, 12, side, side)
    excited, window = head[1](head[0](maps)), min(side, 4)
    largest = excited.unfold(2, window, 1).unfold(3, window, 1).flatten(4).amax(4)
    assert torch.allclose(head[:5](maps), largest.mean((2, 3)))
    assert [(layer.in_features, layer.out_features) for layer in head if isinstance(layer, nn.Linear)] == [
        (12, 728),
        (728, 256),
        (256, 5),
    ]
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [0.4, 0.3, 0.2]
    squeeze, excite = head[1].fc1, head[1].fc2
    middle = torch.relu(squeeze.weight.flatten(1) @ maps.mean((2, 3)).T + squeeze.bias[:, None])
    gates = torch.sigmoid(excite.weight.flatten(1) @ middle + excite.bias[:, None]).T
    assert len(squeeze.bias) == 12 // 6
    assert torch.allclose(excited, maps * gates[:, :, None, None])


def test_the_cosine_layer_is_the_cosine_times_the_scale_of_the_paper():
    network = build("CNN", 3, 32, cosine=True)
    layer = network.classifier[-1]
    features = torch.randn(5, 256)
    logits = layer(features)
    by_hand = 30 * (features @ layer.weight.T) / (features.norm(dim=1)[:, None] * layer.weight.norm(dim=1))
    assert torch.allclose(logits, by_hand, atol=1e-4)
    assert torch.allclose(layer(7 * features), logits, atol=1e-4), "the length of the features does not matter"


def test_the_published_cnn_head_has_822_million_weights():
    with torch.device("meta"):
        network = build("CNN", 3, 224, heads="published")
    assert network.classifier[1].weight.numel() == 822_083_584


def test_the_published_resnet_head_sees_ten_distinct_numbers():
    network = build("ResNet", 3, 64, heads="published").eval()
    pooled = network.classifier[:2](torch.rand(1, 2048, 2, 2))
    assert pooled.shape == (1, 100)
    assert len(pooled.unique()) == 10
