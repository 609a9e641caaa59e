"""What the numbers of a class map mean, and the files beside it that say so to GDAL and to QGIS.

Class names of a GeoTIFF stand in the side file that GDAL keeps beside it (`.aux.xml`, PAM): as
category names and as a raster attribute table with the colours. The colours in the GeoTIFF itself
are a table of 256, which QGIS would list whole; so its style stands there too (`.qml`), with the
classes alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as Xml

Color = tuple[int, int, int]

UNCLASSIFIED = "Unclassified"
GREY: Color = (217, 217, 217)
"""Of pixels without a class, where the legend does not say."""

MOST_CATEGORIES = 4095
"""Category names are a list from 0 on; with larger numbers the attribute table alone is written."""


WRITER = "hsi"
"""Marks a style as one of ours, which the next map may replace; QGIS leaves it out of its own."""


@dataclass(frozen=True)
class Legend:
    """What the numbers of a map mean.

    Attributes:
        names: published number -> name, for every class that can occur.
        colors: number -> (red, green, blue), 0..255; of 0 too, where it is not to be grey.
    """

    names: Mapping[int, str]
    colors: Mapping[int, Color] = field(default_factory=dict)

    @property
    def largest(self) -> int:
        return max(self.names, default=0)

    def name(self, number: int) -> str:
        """Of a number; of one between the classes that no pixel has, too."""
        return UNCLASSIFIED if number == 0 else self.names.get(number, f"class {number}")

    def color(self, number: int) -> Color:
        return self.colors.get(number, GREY)


def side_file(legend: Legend) -> str:
    """GDAL's side file of a band: category names, and the attribute table."""
    root = Xml.Element("PAMDataset")
    band = Xml.SubElement(root, "PAMRasterBand", band="1")
    if legend.largest <= MOST_CATEGORIES:
        categories = Xml.SubElement(band, "CategoryNames")
        for number in range(legend.largest + 1):
            Xml.SubElement(categories, "Category").text = legend.name(number)
    table = Xml.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # GDAL's numbers of types (0 whole, 2 text) and of uses (5 value, 2 name, 6..8 colours).
    columns = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))
    for index, (name, kind, use) in enumerate(columns):
        column = Xml.SubElement(table, "FieldDefn", index=str(index))
        for tag, value in (("Name", name), ("Type", kind), ("Usage", use)):
            Xml.SubElement(column, tag).text = str(value)
    for index, number in enumerate((0, *sorted(legend.names))):
        row = Xml.SubElement(table, "Row", index=str(index))
        for value in (number, legend.name(number), *legend.color(number)):
            Xml.SubElement(row, "F").text = str(value)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"


def style_of(legend: Legend) -> str:
    """The legend as a style of QGIS 3, which it applies to the map beside it."""
    root = Xml.Element("qgis", version="3.22.0", writer=WRITER)
    pipe = Xml.SubElement(root, "pipe")
    facts = {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1"}
    palette = Xml.SubElement(Xml.SubElement(pipe, "rasterrenderer", facts), "colorPalette")
    for number in sorted(legend.names):
        color = "#{:02x}{:02x}{:02x}".format(*legend.color(number))
        entry = {"value": str(number), "label": legend.name(number), "color": color, "alpha": "255"}
        Xml.SubElement(palette, "paletteEntry", entry)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"


def is_own_style(path: Path) -> bool:
    """Whether a style may be written there: none is, or one of ours; not the user's own."""
    try:
        return Xml.parse(path).getroot().get("writer") == WRITER
    except FileNotFoundError:
        return True
    except (OSError, Xml.ParseError):
        return False
