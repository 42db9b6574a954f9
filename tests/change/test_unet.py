"""The U-Net: published blocks at 512, fewer for smaller patches, conditions at the bottleneck."""

import pytest
import torch

from sarship.change.conditions import FEATURES, VECTOR_LENGTH
from sarship.change.unet import UNet

GENERATOR = torch.Generator().manual_seed(1)


def inputs(samples: int, patch: int) -> tuple[torch.Tensor, ...]:
    draw = lambda *shape: torch.randn(*shape, generator=GENERATOR)  # noqa: E731
    return draw(samples, 4, 2, patch, patch), draw(samples, patch, patch), draw(samples, 5, VECTOR_LENGTH)


def filters(blocks) -> list[int]:
    return [block[1].num_features for block in blocks]


def test_at_512_it_has_the_published_blocks():
    with torch.device("meta"):
        network = UNet(512)
    assert filters(network.down) == [64, 128, 256, 512, 512, 512, 512, 512, 512]
    assert [block[0].kernel_size[0] for block in network.down] == [4] * 8 + [2]
    assert [*filters(network.up), network.last.out_channels] == [512] * 6 + [256, 128, 2]
    assert network.down[0][0].in_channels == 9
    assert all(block[0].stride == (2, 2) for block in [*network.down, *network.up])
    assert network.up[0][0].in_channels == 512 + 5 * VECTOR_LENGTH


@pytest.mark.parametrize("patch", [16, 32, 64, 128])
def test_each_patch_goes_down_to_one_cell_and_comes_back(patch):
    network = UNet(patch, width=8)
    assert len(network.down) == len(network.up) + 1 == patch.bit_length() - 1
    cells = []
    network.down[-1].register_forward_hook(lambda module, given, out: cells.append(out.shape[2:]))
    assert network(*inputs(3, patch)).shape == (3, 2, patch, patch)
    assert cells == [(1, 1)]


@pytest.mark.parametrize("name", FEATURES)
def test_a_condition_moves_the_prediction_unless_it_is_left_out_or_withheld(name):
    torch.manual_seed(2)
    told, untold = UNet(16, width=8).eval(), UNet(16, width=8, without=[name]).eval()
    images, elevation, conditions = inputs(2, 16)
    other = conditions.clone()
    other[:, 4, FEATURES[name]] += 1
    with torch.no_grad():
        assert not torch.equal(told(images, elevation, conditions), told(images, elevation, other))
        assert torch.equal(untold(images, elevation, conditions), untold(images, elevation, other))
        told.withhold([name])
        assert torch.equal(told(images, elevation, conditions), told(images, elevation, other))


def test_every_image_and_the_elevation_move_the_prediction_and_the_level_of_the_ground_does_not():
    network = UNet(16, width=8).eval()
    images, elevation, conditions = inputs(2, 16)
    with torch.no_grad():
        before = network(images, elevation, conditions)
        for number in range(4):
            other = images.clone()
            other[:, number] += 1
            assert not torch.allclose(before, network(other, elevation, conditions))
        assert not torch.allclose(before, network(images, elevation**2, conditions))
        assert torch.allclose(before, network(images, elevation + 300, conditions), atol=1e-4)


def test_scaling_is_undone_on_the_way_out():
    network = UNet(16, width=8).eval()
    images, elevation, conditions = inputs(2, 16)
    plain = network(images, elevation, conditions)
    network.image_mean.fill_(-15.0)
    network.image_spread.fill_(3.0)
    moved = network(images * 3 - 15, elevation, conditions)
    assert torch.allclose(moved, plain * 3 - 15, atol=1e-4)


def test_stochastic_depth_leaves_whole_branches_out_in_training_only():
    torch.manual_seed(3)
    network = UNet(32, width=8, stochastic_depth=0.9)
    rates = [branch.p for branch in network.branches]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 0.9
    kept = []
    network.branches[0].register_forward_hook(lambda module, given, out: kept.append(out.flatten(1).abs().sum(1) > 0))
    network(*inputs(64, 32))
    assert 1 <= kept[-1].sum() <= 20  # about a tenth of 64
    network.eval()
    network(*inputs(64, 32))
    assert kept[-1].all()


def test_all_weights_are_trained():
    network = UNet(16, width=8)
    network(*inputs(4, 16)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())
