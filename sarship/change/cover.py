"""Land cover, as land_cover.tif of a series has it."""

FOREST, FIELD, BOG, WATER, BUILT_UP = range(1, 6)
COVERS = {"forest": FOREST, "field": FIELD, "bog": BOG, "water": WATER, "built-up": BUILT_UP}
UNKNOWN = 0  # no cover is told for this pixel
