"""Names that model files, tables and reports share."""

BASELINES = ("Majority", "HOG_SVM")  # what a network has to beat
FIRST_SEED = 1  # the files of its runs bear no suffix
HISTORY_COLUMNS = ("Trained", "Model", "Seed", "Variant", "Epoch", "TrainLoss", "ValLoss", "ValMacroF1", "Picked")


def run_stem(model: str, trained: str, variant: str, seed: int) -> str:
    """Name of a run's files without suffix: VGG_Fusar, CNN_Fusar+Mixed_published_seed2."""
    parts = [model, trained, variant, "" if seed == FIRST_SEED else f"seed{seed}"]
    return "_".join(part for part in parts if part)
