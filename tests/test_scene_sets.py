"""The table of scene sets: names that are known, refused or free, and what is not as expected."""

import re

import pytest

from sarship.command import UserError
from sarship.scene_sets import SCENE_SETS, check, scene_set


@pytest.mark.parametrize("name", SCENE_SETS)
def test_a_known_set_is_found_by_its_name(name):
    known = scene_set(name)
    assert known.name == name and known.layout in ("class_folders", "cifar")
    assert known.link.startswith("http") and re.search(r"\b(19|20)\d\d\b|Terrassa", known.citation)


def test_the_published_figures():
    figures = {name: (known.classes, known.images, known.image_size) for name, known in SCENE_SETS.items()}
    assert figures == {
        "AID": (30, 10_000, 600),
        "NWPU": (45, 31_500, 256),
        "UCMerced": (21, 2_100, 256),
        "WHU": (19, 1_005, 600),
        "EuroSAT": (10, 27_000, 64),
        "EuroSAT_MS": (10, 27_000, 64),
        "CIFAR10": (10, 60_000, 32),
        "Terrassa": (13, None, None),
        "Paris": (12, 6_412, None),
    }
    assert [name for name, known in SCENE_SETS.items() if known.white or known.rgb_bands] == ["EuroSAT_MS"]


@pytest.mark.parametrize("name", ["mine", "Berlin", "EuroSAT_mine", "ParisTerrassa", "AID-2024", "x", "scenes_2"])
def test_other_names_are_free(name):
    assert scene_set(name) is None


@pytest.mark.parametrize(
    "name, near",
    [
        ("UCMercedd", "UCMerced"),
        ("ucmerced", "UCMerced"),
        ("EuroSat", "EuroSAT"),
        ("eurosat_ms", "EuroSAT_MS"),
        ("Teraassa", "Terrassa"),
        ("CIFAR-10", "CIFAR10"),
        ("NWPUU", "NWPU"),
    ],
)
def test_a_name_that_is_nearly_known_is_refused(name, near):
    with pytest.raises(UserError, match=f"^{name}: did you mean {near}[?]"):
        scene_set(name)


@pytest.mark.parametrize("name", ["Fusar", "OpenSARShip", "Mixed", "mixed", "FUSAR"])
def test_names_of_the_ship_study_are_refused(name):
    with pytest.raises(UserError, match=f"^{name}: .* is a data set of the ship study"):
        scene_set(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "-x", ".x", "a b", "a+b", "ä", "a\n", "x" * 65, "C:", "~"]
)
def test_names_that_are_no_safe_folder_names_are_refused(name):
    with pytest.raises(UserError, match="is no name for a data set") as caught:
        scene_set(name)
    assert "\n" not in str(caught.value)


def test_what_is_as_expected_is_not_spoken_of():
    classes = [f"class {number}" for number in range(30)]
    assert check(SCENE_SETS["AID"], classes, 10_000, "AID.zip") == []
    assert check(None, ["a"], 1, "mine.zip") == []
    assert check(SCENE_SETS["Terrassa"], classes[:13], 777, "terrassa") == []  # the number of images is not known


def test_what_is_not_as_expected_is_said_in_a_line_each():
    assert check(SCENE_SETS["AID"], ["a", "b"], 400, "part.zip") == [
        "part.zip: has 2 classes, AID (AID.zip) has 30",
        "part.zip: has 400 images, AID (AID.zip) has 10,000",
    ]
