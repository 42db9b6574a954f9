"""How far a change map agrees with the mask of what has truly changed."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import cohen_kappa_score


@dataclass(frozen=True)
class Agreement:
    """Counts of pixels. hits: changed in both; rejections: unchanged in both."""

    hits: int
    rejections: int
    false_alarms: int
    missed_alarms: int

    @property
    def pixels(self) -> int:
        return self.hits + self.rejections + self.false_alarms + self.missed_alarms

    @property
    def errors(self) -> int:
        return self.false_alarms + self.missed_alarms

    @property
    def kappa(self) -> float:
        """Cohen's, -1..1; NaN if map and mask are both all changed or both all unchanged."""
        if self.pixels in (self.hits, self.rejections):
            return float("nan")
        corners = [self.rejections, self.false_alarms, self.missed_alarms, self.hits]
        return float(cohen_kappa_score([0, 0, 1, 1], [0, 1, 0, 1], sample_weight=corners))

    def row(self) -> dict[str, float]:
        """Columns of the table: counts, percentages with two decimals, kappa and F1 with four.

        The overall error is in percent of all pixels, as is PCC, the percentage that is classified correctly; false
        alarms are in percent of the unchanged pixels of the mask, missed alarms of the changed ones. NaN: of none.
        """
        changed, unchanged = self.hits + self.missed_alarms, self.rejections + self.false_alarms
        return {
            "kappa": round(self.kappa, 4),
            "f1": round(_share(2 * self.hits, 2 * self.hits + self.errors), 4),
            "pcc_percent": round(100 * _share(self.pixels - self.errors, self.pixels), 2),
            "overall_errors": self.errors,
            "overall_error_percent": round(100 * _share(self.errors, self.pixels), 2),
            "false_alarms": self.false_alarms,
            "false_alarm_percent": round(100 * _share(self.false_alarms, unchanged), 2),
            "missed_alarms": self.missed_alarms,
            "missed_alarm_percent": round(100 * _share(self.missed_alarms, changed), 2),
        }


def agreement(changed: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> Agreement:
    """Counts over the valid pixels; all three (rows, cols) bool."""
    found, true = changed[valid], truth[valid]
    return Agreement(
        hits=int(np.count_nonzero(found & true)),
        rejections=int(np.count_nonzero(~found & ~true)),
        false_alarms=int(np.count_nonzero(found & ~true)),
        missed_alarms=int(np.count_nonzero(~found & true)),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
