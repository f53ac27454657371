"""Studies as pictures, drawn by matplotlib: curves of sweeps, heat maps of sensitivities."""

import io
import math
import warnings
from importlib.util import find_spec
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from onnxprune.errors import UnsupportedError
from onnxprune.points import Study
from onnxprune.report.checks import RANDOM
from onnxprune.report.heatmap import COLOURS, find_heat, ink
from onnxprune.report.plot import Curves, is_drawable, keep_drawable
from onnxprune.report.spelling import sparsity
from onnxprune.report.studies import (
    FAILED,
    find_largest_loss,
    find_loss,
    index_points,
    is_share,
    spell_loss,
    study_curves,
)
from onnxprune.report.text import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's colours, which people with any colour vision tell apart."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
SETTINGS: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "figure.titlesize": 11.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "onnxprune",
    "text.parse_math": False,
    "axes.unicode_minus": False,
}
DOTS_PER_INCH = 150
GREY, UNKNOWN = "#666666", "#eeeeee"
NAMES = 48
ROW, CELL, LETTER = 0.3, 0.75, 0.085
"""Inches of a row, a cell and a letter."""

MOST_BELOW = 16
"""Names of a legend, one below the other."""

TALLEST = 100.0
"""Inches of a heat map; beyond that its rows get lower."""
MOST_LETTERED = 200
"""Rows that are high enough for figures in their cells."""


def check_matplotlib() -> None:
    """Refuse figures where nothing can draw them."""
    if find_spec("matplotlib") is None:
        raise UnsupportedError("plots need matplotlib", "pip install 'onnxprune[plots]'")


def draw_inline(study: Study, curves: Curves | None = None) -> str:
    """Draw a study as an element of a page."""
    drawing = draw_figure(study, "svg", curves).decode("utf-8")
    return drawing[drawing.index("<svg") :]


def draw_figure(study: Study, form: str, curves: Curves | None = None) -> bytes:
    """Draw a study as `svg` or `png`; the same study makes the same bytes.

    Args:
        study: a sensitivity becomes a map of heat, others become curves.
        form: `svg` or `png`.
        curves: what is drawn of a study whose points differ in more than sparsity.
    """
    check_matplotlib()
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Letters that the font lacks are drawn as boxes; that is no news for a user.
        warnings.simplefilter("ignore", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        if study.kind == "sensitivity":
            _draw_heat(figure, study)
        else:
            _draw_curves(figure, study, curves or study_curves(study))
        stream = io.BytesIO()
        metadata: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        if form == "png":
            metadata = {"Software": "onnxprune"}
        figure.savefig(stream, format=form, dpi=DOTS_PER_INCH, metadata=metadata)
    return stream.getvalue()


def _draw_curves(figure: "Figure", study: Study, curves: Curves) -> None:
    from matplotlib.ticker import MaxNLocator

    series = [keep_drawable(each) for each in curves.series]
    names = [each.name for each in series]
    longest = min(NAMES, max(map(len, names), default=0))
    beside = _legend_columns(names) * (1.0 + LETTER * longest)
    figure.set_size_inches(6.5 + beside, 4.5)
    axes = figure.add_subplot()
    handles: list[Any] = []
    for number, each in enumerate(series):
        handles += axes.plot(
            [x for x, _ in each.points],
            [y for _, y in each.points],
            color=CURVES[number % len(CURVES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5.5,
            linewidth=1.6,
            linestyle="-" if study.kind == "sweep" else "",
        )
    dashed: dict[str, Any] = {"linestyle": (0, (4, 3)), "linewidth": 1.2, "zorder": 1.5}
    dense = curves.dense if is_drawable(curves.dense) else math.nan
    handles.append(axes.axhline(dense, color=GREY, **dashed))
    axes.set_xlabel(curves.axis)
    axes.set_ylabel(show(study.measure, NAMES))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: curves.spell_place(round(value, 12)))
    axes.yaxis.set_major_formatter(lambda value, _: curves.spell_figure(round(value, 12)))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _add_legend(figure, handles, [*names, "dense"])
    _add_title(figure, axes, study)


def _add_legend(figure: "Figure", handles: list[Any], names: list[str]) -> None:
    """Put a legend beside the curves."""
    plain = [str(number) for number in range(len(names))]
    columns = _legend_columns(names)
    legend = figure.legend(
        handles, plain, loc="outside right center", frameon=False, ncols=columns
    )
    # Names are set afterwards: matplotlib passes over those that begin with an underscore.
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name if len(name) <= NAMES else name[: NAMES - 1] + "…")


def _legend_columns(names: list[str]) -> int:
    return 1 + len(names) // MOST_BELOW


def _draw_heat(figure: "Figure", study: Study) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    rows, columns = study.methods, study.sparsities
    height = min(TALLEST, 1.6 + ROW * max(len(rows), 3))
    figure.set_size_inches(4.5 + CELL * max(len(columns), 3), height)
    axes = figure.add_subplot()
    stops = [(at, tuple(part / 255 for part in mixed)) for at, mixed in COLOURS]
    colours = LinearSegmentedColormap.from_list("heat", stops)
    largest = find_largest_loss(study)
    for (path, wanted), point in index_points(study).items():
        place = columns.index(wanted), rows.index(path)
        loss = find_loss(study, point)
        heat = find_heat(loss, largest)
        face = UNKNOWN if heat is None else colours(heat)
        text = FAILED if heat is None else spell_loss(study, loss)
        letters = "#000000" if heat is None else ink(heat)
        _draw_cell(axes, place, face, (text if len(rows) <= MOST_LETTERED else "", letters))
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    axes.set_xticks(
        [at + 0.5 for at in range(len(columns))], [sparsity(each) for each in columns]
    )
    axes.set_yticks(
        [at + 0.5 for at in range(len(rows))], [show(path, NAMES) for path in rows]
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("sparsity of this tensor alone")
    _add_bar(figure, axes, study, colours, largest)
    _add_title(figure, axes, study)


def _draw_cell(
    axes: "Axes", place: tuple[int, int], face: Any, lettering: tuple[str, str]
) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle(place, 1, 1, facecolor=face, edgecolor="white", linewidth=1.0))
    text, colour = lettering
    middle: dict[str, Any] = {"ha": "center", "va": "center"}
    axes.text(place[0] + 0.5, place[1] + 0.5, text, fontsize=8.0, color=colour, **middle)


def _add_bar(
    figure: "Figure", axes: "Axes", study: Study, colours: Any, largest: float
) -> None:
    """Say beside a heat map what its colours mean."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = 100.0 if is_share(study) else 1.0
    mappable = ScalarMappable(Normalize(0, scale * largest or 1.0), colours)
    bar = figure.colorbar(mappable, ax=axes, pad=0.02, aspect=30)
    outline: Any = bar.outline
    outline.set_visible(False)
    scale_colours: Any = bar.solids
    scale_colours.set_rasterized(False)
    scale_colours.set_edgecolor("face")
    measure = show(study.measure, NAMES)
    bar.set_label(f"points of {measure} lost" if is_share(study) else f"{measure} lost")


def _add_title(figure: "Figure", axes: "Axes", study: Study) -> None:
    model, source = (
        show(PurePath(path).name, NAMES) for path in (study.model, study.data.source)
    )
    axes.set_title(f"{model}\n{study.data.samples:,} samples of {source}", loc="left", pad=10)
    if study.data.random:
        figure.suptitle(RANDOM, color="#c00000", fontweight="bold")
