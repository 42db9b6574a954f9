"""summary.png of a series: what its first area looks like, its weather, and what the weather does to it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from sarship.change.conditions import ORBITS, Acquisition
from sarship.change.cover import COVERS
from sarship.change.simulator.weather import Weather
from sarship.figures import BLUE, VERMILION, new_figure, save_figure

# Okabe and Ito, Color Universal Design, 2008, in the order of COVERS: forest, field, bog, water, built-up.
COVER_COLOURS = ("#009E73", "#E69F00", "#CC79A7", "#0072B2", "#000000")
COVER_MARKS = ("o", "s", "^", "D", "x")
SHOWN_PX = 512  # of a large area, its upper left part
VV_RANGE_DB, DIFFERENCE_DB = (-18, -4), 5
ORBIT_COLOURS = dict(zip(ORBITS, (VERMILION, BLUE), strict=True))


def draw_summary(
    area_folder: Path, weather: Weather, acquisitions: Sequence[Acquisition], means_db: np.ndarray, path: Path
) -> None:
    """Maps, images, weather and mean backscatter of a simulated area.

    weather: of the area. acquisitions: at least one; means_db: (acquisitions, 2, covers), VV and VH by cover.
    """
    figure = new_figure(12, 13.6)
    maps, series = figure.subfigures(2, 1, height_ratios=[7.0, 6.6])
    _draw_maps(maps, area_folder, acquisitions)
    top, *others = series.subplots(3, 1, sharex=True, height_ratios=[1.2, 1, 1])
    _draw_weather(top, weather, acquisitions)
    for axes, band, name in zip(others, range(2), ("VV", "VH"), strict=True):
        _draw_means(axes, acquisitions, means_db[:, band], name)
    others[0].legend(ncols=len(COVERS), frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1))
    others[-1].xaxis.set_major_formatter(ConciseDateFormatter(others[-1].xaxis.get_major_locator()))
    save_figure(figure, path)


def _draw_maps(figure: Figure, folder: Path, acquisitions: Sequence[Acquisition]) -> None:
    grid = figure.subplots(2, 3)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    _elevation(figure, grid[0, 0], _read(folder / "elevation.tif"))
    _land_cover(figure, grid[0, 1], _read(folder / "land_cover.tif"))
    chosen = [_nearest(acquisitions, orbit, 12) for orbit in ORBITS]
    images = [_read(folder / each.file) for each in chosen]
    for axes, each, image in zip((grid[0, 2], grid[1, 0]), chosen, images, strict=True):
        _image(figure, axes, each, image)
    shown = grid[1, 1].imshow(images[0] - images[1], cmap="RdBu_r", vmin=-DIFFERENCE_DB, vmax=DIFFERENCE_DB)
    grid[1, 1].set_title("ascending − descending", fontsize="medium")
    figure.colorbar(shown, ax=grid[1, 1], label="VV difference (dB)", shrink=0.8)
    frozen = _nearest(acquisitions, chosen[0].orbit, -12)
    _image(figure, grid[1, 2], frozen, _read(folder / frozen.file))


def _nearest(acquisitions: Sequence[Acquisition], orbit: str, temperature_c: float) -> Acquisition:
    """The acquisition of an orbit, or where it has none of any, under the steepest angle nearest to a temperature."""
    of_orbit = [each for each in acquisitions if each.orbit == orbit] or list(acquisitions)
    steepest = min(each.incidence_angle_deg for each in of_orbit)
    same = [each for each in of_orbit if each.incidence_angle_deg == steepest]
    return min(same, key=lambda each: abs(each.temperature_c - temperature_c))


def _read(path: Path) -> np.ndarray:
    """The first band, at most SHOWN_PX a side."""
    with rasterio.open(path) as file:
        return file.read(1)[:SHOWN_PX, :SHOWN_PX]


def _elevation(figure: Figure, axes: Axes, elevation_m: np.ndarray) -> None:
    shown = axes.imshow(elevation_m, cmap="cividis")
    axes.set_title(f"Elevation ({elevation_m.shape[1] / 100:.1f} km wide)", fontsize="medium")
    figure.colorbar(shown, ax=axes, label="m", shrink=0.8)


def _land_cover(figure: Figure, axes: Axes, cover: np.ndarray) -> None:
    codes = list(COVERS.values())
    shown = axes.imshow(cover, cmap=ListedColormap(COVER_COLOURS), vmin=codes[0] - 0.5, vmax=codes[-1] + 0.5)
    axes.set_title("Land cover", fontsize="medium")
    figure.colorbar(shown, ax=axes, shrink=0.8).set_ticks(codes, labels=list(COVERS))


def _image(figure: Figure, axes: Axes, acquisition: Acquisition, image: np.ndarray) -> None:
    shown = axes.imshow(image, cmap="gray", vmin=VV_RANGE_DB[0], vmax=VV_RANGE_DB[1])
    title = f"{acquisition.orbit}, {acquisition.date:%Y-%m-%d}, {acquisition.temperature_c:.0f} °C"
    axes.set_title(title, fontsize="medium")
    figure.colorbar(shown, ax=axes, label="VV (dB)", shrink=0.8)


def _draw_weather(axes: Axes, weather: Weather, acquisitions: Sequence[Acquisition]) -> None:
    first, last = acquisitions[0].date, acquisitions[-1].date
    hours = range(int((first - weather.start).total_seconds() // 3600), len(weather.rain_mm) - 24, 24)
    days = [weather.start + timedelta(hours=hour) for hour in hours]
    temperature = [weather.temperature_c[hour : hour + 24].mean() for hour in hours]
    axes.plot(days, temperature, color="0.25", linewidth=0.8, label="temperature (°C)")
    axes.axhline(0, color="0.6", linewidth=0.6)
    axes.fill_between(days, weather.snow_cm[list(hours)], color="#56B4E9", alpha=0.5, label="snow depth (cm)")
    rain = [weather.rain_mm[hour : hour + 24].sum() for hour in hours]
    axes.bar(days, rain, width=1.0, color=BLUE, label="precipitation (mm a day)")
    _mark_acquisitions(axes, acquisitions, min(temperature) - 4)
    axes.set(ylabel="Weather", xlim=(first - timedelta(days=4), last + timedelta(days=4)))
    axes.xaxis.set_major_locator(AutoDateLocator())
    axes.legend(ncols=5, frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1))


def _mark_acquisitions(axes: Axes, acquisitions: Sequence[Acquisition], height: float) -> None:
    for step, (orbit, colour) in enumerate(ORBIT_COLOURS.items()):
        dates: list[datetime] = [each.date for each in acquisitions if each.orbit == orbit]
        axes.plot(dates, [height - 4 * step] * len(dates), "|", color=colour, markersize=5, label=f"image, {orbit}")


def _draw_means(axes: Axes, acquisitions: Sequence[Acquisition], means_db: np.ndarray, name: str) -> None:
    dates = [each.date for each in acquisitions]
    for index, cover in enumerate(COVERS):
        style = {"color": COVER_COLOURS[index], "marker": COVER_MARKS[index]}
        axes.plot(dates, means_db[:, index], label=cover, markersize=2.5, linewidth=0.4, **style)
    axes.set_ylabel(f"Mean {name} (dB)")
    axes.grid(alpha=0.25)
