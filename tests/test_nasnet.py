"""sarship/nasnet.py: NASNet-A Mobile, beside what the paper and the weight file say of it."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d
from torch.utils.flop_counter import FlopCounterMode

from models import build, load_imagenet_backbone
from sarship.nasnet import BEFORE, CELLS, NORMAL, NOW, PROJECTED, REDUCTION, Cell, NASNetLayers, nasnet_mobile

# Written off the source of the weight file's own network: nasnet_mobile.py of R. Cadene's pretrainedmodels.
LITERAL = {
    "conv0.conv.weight": (32, 3, 3, 3),
    "cell_stem_0.conv_1x1.conv.weight": (11, 32, 1, 1),
    "cell_stem_0.comb_iter_0_right.separable_1.depthwise_conv2d.weight": (32, 1, 7, 7),
    "cell_stem_0.comb_iter_2_right.separable_1.pointwise_conv2d.weight": (11, 32, 1, 1),
    "cell_stem_1.path_2.conv.weight": (11, 32, 1, 1),
    "cell_stem_1.final_path_bn.running_var": (22,),
    "cell_0.path_1.conv.weight": (22, 44, 1, 1),
    "cell_0.conv_1x1.conv.weight": (44, 88, 1, 1),
    "cell_1.conv_prev_1x1.conv.weight": (44, 88, 1, 1),
    "reduction_cell_0.comb_iter_1_right.separable_2.depthwise_conv2d.weight": (88, 1, 7, 7),
    "cell_6.path_1.conv.weight": (44, 264, 1, 1),
    "cell_7.conv_prev_1x1.bn.bias": (88,),
    "reduction_cell_1.comb_iter_4_left.separable_1.depthwise_conv2d.weight": (176, 1, 3, 3),
    "cell_12.conv_1x1.conv.weight": (176, 704, 1, 1),
    "cell_15.comb_iter_4_left.bn_sep_2.running_mean": (176,),
    "last_linear.weight": (1000, 1056),
}
REDUCING = {"0_left": 5, "0_right": 7, "1_right": 7, "2_right": 5, "4_left": 3}  # kernels of the combinations
KEEPING = {"0_left": 5, "0_right": 3, "1_left": 5, "1_right": 3, "4_left": 3}


def file_shapes(counted: bool = True) -> dict[str, tuple[int, ...]]:
    """Every name and shape of the weight file. counted: whether batch norm counts batches, as since PyTorch 0.4.1."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"] = shape

    def batch_norm(name: str, channels: int) -> None:
        kinds = ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{name}.{kind}": (channels,) for kind in kinds})
        if counted:
            shapes[f"{name}.num_batches_tracked"] = ()

    def projection(name: str, channels_in: int, channels_out: int) -> None:
        convolution(f"{name}.conv", channels_out, channels_in, 1, 1)
        batch_norm(f"{name}.bn", channels_out)

    def separable(name: str, channels_in: int, channels_out: int, kernel: int) -> None:
        for number, channels in ((1, channels_in), (2, channels_out)):
            convolution(f"{name}.separable_{number}.depthwise_conv2d", channels, 1, kernel, kernel)
            convolution(f"{name}.separable_{number}.pointwise_conv2d", channels_out, channels, 1, 1)
            batch_norm(f"{name}.bn_sep_{number}", channels_out)

    def cell(name: str, kernels: dict[str, int], before: int, now: int, width: int, prefix: str) -> None:
        projection(f"{name}.conv_1x1", now, width)
        if prefix == "conv_prev_1x1":
            projection(f"{name}.conv_prev_1x1", before, width)
        elif prefix == "path":
            for number in (1, 2):
                convolution(f"{name}.path_{number}.conv", width // 2, before, 1, 1)
            batch_norm(f"{name}.final_path_bn", width)
        for place, kernel in kernels.items():
            raw = prefix == "" and place.endswith("right")  # the first cell's, on 32 channels
            separable(f"{name}.comb_iter_{place}", now if raw else width, width, kernel)

    convolution("conv0.conv", 32, 3, 3, 3)
    batch_norm("conv0.bn", 32)
    cell("cell_stem_0", REDUCING, 0, 32, 11, "")
    cell("cell_stem_1", REDUCING, 32, 44, 22, "path")
    before, now = 44, 88
    for first, width in ((0, 44), (6, 88), (12, 176)):
        for number in range(first, first + 4):
            cell(f"cell_{number}", KEEPING, before, now, width, "path" if number == first else "conv_prev_1x1")
            before, now = now, 6 * width
        if first < 12:
            cell(f"reduction_cell_{first // 6}", REDUCING, before, now, 2 * width, "conv_prev_1x1")
            before, now = now, 8 * width
    shapes |= {"last_linear.weight": (1000, 1056), "last_linear.bias": (1000,)}
    return shapes


@pytest.fixture(scope="module")
def layers() -> NASNetLayers:
    """Without numbers."""
    with torch.device("meta"):
        return nasnet_mobile()


def test_names_and_shapes_are_those_of_the_weight_file(layers):
    shapes = file_shapes()
    assert {name: shapes[name] for name in LITERAL} == LITERAL
    backbone = {name: shape for name, shape in shapes.items() if not name.startswith("last_linear")}
    assert {name: tuple(value.shape) for name, value in layers.state_dict().items()} == backbone


@pytest.mark.parametrize("counted", [True, False])
def test_the_weight_file_is_loaded_from_where_the_hub_keeps_it(counted, monkeypatch, tmp_path):
    """With a stand-in: the real file cannot be had without a network. Each of its tensors holds a number of its own."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    shapes = file_shapes(counted)
    numbers = {name: torch.tensor(float(number)) for number, name in enumerate(shapes)}
    (tmp_path / "checkpoints").mkdir()
    stand_in = {name: numbers[name].expand(shape).clone() for name, shape in shapes.items()}
    torch.save(stand_in, tmp_path / "checkpoints" / "nasnetamobile-7e03cead.pth", _use_new_zipfile_serialization=False)
    network = build("NASNetMobile", 4, 64)
    load_imagenet_backbone(network, "NASNetMobile")
    for name, value in network.features.state_dict().items():
        assert torch.equal(value, torch.full_like(value, float(numbers.get(name, 0)))), name
    assert network.input_mean.unique().tolist() == network.input_std.unique().tolist() == [0.5]


def test_parameters_and_statistics_are_as_many_as_published(layers):
    """5,289,978 with the classes of ImageNet; Keras' NASNetMobile counts means and variances too: 5,326,716."""
    linear = 1056 * 1000 + 1000
    parameters = sum(value.numel() for value in layers.parameters())
    statistics = sum(value.numel() for name, value in layers.named_buffers() if name.endswith(("_mean", "_var")))
    assert parameters + linear == 5_289_978
    assert parameters + linear + statistics == 5_326_716


def test_multiply_adds_are_as_many_as_published(layers):
    """564 million at 224 x 224 (table 2 of the paper), rounded; a multiply-add is two operations."""
    with FlopCounterMode(display=False) as counter:
        layers.eval()(torch.zeros(1, 3, 224, 224, device="meta"))
    assert round((counter.get_total_flops() / 2 + 1056 * 1000) / 1e6) == 564


@pytest.mark.parametrize("size", [32, 33, 50, 64, 100, 224])
def test_chips_of_any_size_end_in_a_map(layers, size):
    rows, cols = layers(torch.zeros(2, 3, size, 224, device="meta")).shape[2:]
    assert rows in (size // 32, -(-size // 32))
    assert cols == 7


def test_each_cell_is_handed_the_two_outputs_before_it(layers):
    outputs: dict[str, Tensor] = {}
    handed: dict[str, list[str]] = {}

    def note(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        handed[name] = [next((own for own, value in outputs.items() if value is given), "chips") for given in inputs]
        outputs[name] = output

    layers = copy.deepcopy(layers)
    for name, layer in layers.named_children():
        layer.register_forward_hook(lambda _, inputs, output, name=name: note(name, inputs, output))
    layers(torch.zeros(2, 3, 64, 64, device="meta"))
    order = ["chips", *handed]
    assert handed["cell_stem_1"] == ["cell_stem_0", "conv0"]
    assert handed["cell_12"] == ["reduction_cell_1", "cell_9"]
    for place, name in enumerate(order[2:], start=2):
        assert handed[name] == order[place - 1 : place - 3 : -1] or name in ("cell_stem_0", "relu"), name


def test_a_slice_from_the_beginning_is_a_network(layers):
    chips = torch.zeros(2, 3, 64, 64, device="meta")
    assert layers[:7](chips).shape == (2, 264, 8, 8)
    assert isinstance(layers[:7], NASNetLayers)


def cell_without_convolutions(kind) -> Cell:
    """A cell of 3 channels whose separable convolutions give 0 and whose inputs come in as they are."""
    cell = Cell(kind, 3, 3, 3, PROJECTED).eval()
    cell.conv_1x1 = cell.conv_prev_1x1 = nn.Identity()
    for name, parameter in cell.named_parameters():
        assert name.startswith("comb_iter")
        nn.init.zeros_(parameter)
    return cell


def test_what_a_normal_cell_does_without_its_convolutions():
    """Figure 4, left: the pooled and the plain paths."""
    now, before = torch.rand(2, 1, 3, 9, 8)
    parts = cell_without_convolutions(NORMAL)(now, before).chunk(6, dim=1)

    def average(maps: Tensor) -> Tensor:
        return avg_pool2d(maps, 3, 1, 1, count_include_pad=False)

    expected = [before, 0 * now, 0 * now, average(now) + before, 2 * average(before), now]
    assert all(torch.allclose(*pair) for pair in zip(parts, expected, strict=True))


def test_what_a_reduction_cell_does_without_its_convolutions():
    """Figure 4, right. On 7 x 7, padding is the same on all sides, and PyTorch's own pooling knows it."""
    now, before = torch.rand(2, 1, 3, 7, 7)
    parts = cell_without_convolutions(REDUCTION)(now, before).chunk(4, dim=1)
    largest = max_pool2d(now, 3, 2, 1)
    average = avg_pool2d(now, 3, 2, 1, count_include_pad=False)
    assert all(torch.allclose(*pair) for pair in zip(parts, [largest, average, largest, largest], strict=True))


@pytest.mark.parametrize(
    ("kind", "on_now", "on_before"),
    [(NORMAL, {"0_left": 5, "4_left": 3}, {"0_right": 3, "1_left": 5, "1_right": 3}),
     (REDUCTION, {"0_left": 5}, {"0_right": 7, "1_right": 7, "2_right": 5})],
)  # fmt: skip
def test_which_convolutions_work_on_which_input(kind, on_now, on_before):
    found: dict[int, dict[str, int]] = {NOW: {}, BEFORE: {}}
    for number, pair in enumerate(kind.combinations):
        for side, (operation, place) in zip(("left", "right"), pair, strict=True):
            if operation.startswith("separable") and place in found:
                found[place][f"{number}_{side}"] = int(operation.split()[1])
    assert found == {NOW: on_now, BEFORE: on_before}


@pytest.mark.parametrize(("name", "kernel"), [("comb_iter_0_left", 5), ("comb_iter_0_right", 7)])
@pytest.mark.parametrize(("side", "first"), [(8, 1), (7, 0), (2, 1), (1, 0)])
def test_strides_go_by_the_rule_of_the_weights_own_library(name, kernel, side, first):
    """TensorFlow's SAME: windows are centred on pixels 1, 3, ... of an even side, and on 0, 2, ... of an odd one."""
    convolution = Cell(REDUCTION, 1, 1, 1, PROJECTED).get_submodule(name).separable_1.depthwise_conv2d
    nn.init.zeros_(convolution.weight).data[..., kernel // 2, kernel // 2] = 1
    maps = torch.rand(1, 1, side, side)
    assert torch.equal(convolution(maps), maps[..., first::2, first::2])


def test_pooling_on_even_sides_counts_only_what_is_there():
    cell = Cell(REDUCTION, 1, 1, 1, PROJECTED)
    maps = -1 - torch.arange(16.0).view(1, 1, 4, 4)  # below 0, so that a zero from padding would be the largest
    assert cell.comb_iter_1_left(maps).flatten().tolist() == [-1, -3, -9, -11]
    assert cell.comb_iter_2_left(maps).flatten().tolist() == [-6, -7.5, -12, -13.5]


def test_a_map_of_twice_the_size_comes_in_by_every_other_pixel_and_the_next_ones():
    layer = nasnet_mobile().get_submodule("cell_0").eval()
    for path in (layer.path_1, layer.path_2):
        path.conv.weight.data.zero_()[0, 0] = 1
    maps = torch.arange(25.0).view(1, 1, 5, 5).expand(1, 44, 5, 5)
    fitted = layer(torch.zeros(1, 88, 3, 3), maps)[0, :44] * (1 + 0.001) ** 0.5  # batch norm's eps
    assert torch.allclose(fitted[0], maps[0, 0, ::2, ::2])
    assert torch.allclose(fitted[22], torch.tensor([[6.0, 8, 0], [16, 18, 0], [0, 0, 0]]))


def test_cells_are_those_of_the_mobile_network():
    """4 @ 1056: stacks of four normal cells, each stack twice as wide as the one before."""
    normal = [width for _, kind, width, _ in CELLS if kind is NORMAL]
    assert normal == [44] * 4 + [88] * 4 + [176] * 4
    assert 6 * normal[-1] == 1056
