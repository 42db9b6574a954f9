"""Names that a command line or a study gives to folders below prepared/."""

import pytest

import dataset_prep
from sarship.classes import class_of
from sarship.command import UserError


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", ".", "..", "=x", "@x", "a\nb"])
@pytest.mark.parametrize("option", ["--classes", "--scenes"])
def test_a_name_that_can_be_no_folder_is_refused(option, name):
    words = ["--classes", "Cargo", name] if option == "--classes" else ["--scenes", f"{name}=a.zip"]
    with pytest.raises(UserError, match=option):
        dataset_prep.options(words)


def test_a_type_with_a_slash_is_asked_for_without():
    wanted = ["Oil_Chemical Tanker", "Cargo"]
    found = class_of("OpenSARShip", "Pollution", "Oil/Chemical Tanker", "category", wanted)
    assert found == ""
    assert class_of("OpenSARShip", "Oil/Chemical Barge", "", "category", ["OilChemicalBarge"]) == "OilChemicalBarge"
