"""Time series of Sentinel-1 images of boreal land: a laboratory where the cause of every change is known.

    simulate_series(Path("change/series"), areas=3, size=512, seed=1)
    clean = clean_image(Path("change/series/area_1"), replace(acquisition, orbit="descending"))

The order of things: `terrain` makes hills and hollows out of the fields of `noise`, `settlements` puts villages, fields
and roads on it, `land` divides it (`cells`) into stands, fields, bogs and lakes (`patches`); `passes` says who flies
when and looks from where, and `weather` what is told of the days before; `geometry` works out what an orbit sees of
slopes and edges, `levels` what weather and season (`growth`) do to each patch; `imaging` puts these together with the
`speckle`; `areas` holds an area's options and streams of random numbers, `series` writes the files, `summary` draws
them, `command` has the options of the part `simulate`.

What is simulated: incidence and look direction, terrain within the plane of incidence, edges of forests, walls that
face the radar; rain, frost, wet and dry snow, lake ice, leaves, the year of each field; resolution, multi-looked
speckle, thermal noise, the offset between satellites. What is hidden, so that no network can know it from
acquisitions.csv (`levels.Hidden`): wind over lakes, rain before the fourth day, how much ice there is, the calibration
of each image; and of what will change, when a field is harvested or ploughed. What is not simulated: layover and long
shadows of mountains, azimuth slopes, row direction of fields, growth and felling of forest, differences of weather
within an area but those that height makes, borders of swaths and bursts, errors of registration.
"""

from sarship.change.simulator.imaging import clean_image
from sarship.change.simulator.series import simulate_series

__all__ = ["clean_image", "simulate_series"]
