"""Networks without numbers, for tests of shapes and counts."""

import torch

from models import ShipNetwork, build


def hollow(name: str, *arguments, **options) -> ShipNetwork:
    """As models.build; its weights take no memory, and it answers what shape its output has in no time."""
    with torch.device("meta"):
        return build(name, *arguments, **options)
