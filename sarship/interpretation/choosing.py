"""Which chips a trained network can be shown, and which networks could be looked at."""

from collections.abc import Iterator
from contextlib import contextmanager

from sarship.command import UserError, log
from sarship.interpretation.outputs import NoSuchLayer
from sarship.prepared import PreparedSet


def check_chips(prepared: PreparedSet, meta: dict, stem: str) -> None:
    """Raises UserError if the chips have another size, or other bands, than those that the network was trained on."""
    side = prepared.image_size
    if side != meta["image_size"]:
        wrong = f"chips of {side} x {side} pixels"
    elif prepared.bands != meta.get("bands", "grey"):
        wrong = "chips in colour" if prepared.bands == "rgb" else "grey chips"
    else:
        return
    raise UserError(
        f"trained_models/{stem}.pt: was not trained for {wrong} of {prepared.name}; choose others with --tested"
    )


class Tally:
    """How many networks were looked at, and why the others were not."""

    def __init__(self):
        self.looked_at, self.reason = 0, ""

    @contextmanager
    def one(self, stem: str) -> Iterator[None]:
        """Within, a network is looked at; one that has not the layers for it is said in a line, and others follow."""
        try:
            yield
            self.looked_at += 1
        except NoSuchLayer as error:
            self.reason = f"{stem}: {error}"
            log(self.reason)

    def check(self) -> None:
        """UserError if no network could be looked at."""
        if not self.looked_at:
            raise UserError(f"nothing was written; {self.reason}")
