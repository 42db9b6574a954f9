"""The table of classes, on both levels."""

import pytest

from sarship.classes import CATEGORIES, SUBCATEGORIES, class_names, class_of

THREE = ["Cargo", "Fishing", "Tanker"]


@pytest.mark.parametrize("table", [CATEGORIES, SUBCATEGORIES])
def test_names_are_unique_and_each_data_set_has_a_pattern(table):
    names = [line[0] for line in table]
    assert len(names) == len(set(names))
    assert all(line[1] and line[2] for line in table)


@pytest.mark.parametrize(
    ("dataset", "category", "subcategory", "level", "classes", "expected"),
    [
        ("Fusar", "Cargo", "BulkCarrier", "category", THREE, "Cargo"),
        ("OpenSARShip", "Tanker", "Oil/Chemical Tanker", "category", THREE, "Tanker"),
        ("OpenSARShip", "Other Type", "General Cargo", "category", THREE, ""),
        ("OpenSARShip", "Other Type", "General Cargo", "category", ["Other", "Cargo"], "Other"),
        ("OpenSARShip", "Cargo", "Bulk Carrier", "subcategory", ["BulkCarrier", "Tanker"], "BulkCarrier"),
        ("OpenSARShip", "Cargo", "LPG Tanker", "subcategory", ["BulkCarrier", "Tanker"], "Tanker"),
        ("OpenSARShip", "Tanker", "", "subcategory", ["BulkCarrier", "Tanker"], "Tanker"),
        ("Fusar", "Cargo", "ContainerShip", "subcategory", ["ContainerShip", "Tanker"], "ContainerShip"),
        ("Fusar", "Tanker", "BulkCarrier", "subcategory", ["BulkCarrier", "Tanker"], "Tanker"),
        ("OpenSARShip", "Search and Rescue vessel", "", "category", ["SearchAndRescue"], "SearchAndRescue"),
        ("OpenSARShip", "Pilot Vessel", "", "category", ["PilotVessel"], "PilotVessel"),  # a source's own name
    ],
)
def test_class_of(dataset, category, subcategory, level, classes, expected):
    assert class_of(dataset, category, subcategory, level, classes) == expected


def test_the_common_three_class_task_is_there():
    assert {"BulkCarrier", "ContainerShip", "Tanker"} <= set(class_names("subcategory"))
