"""Where the pixels of a scene lie on the Earth: a coordinate reference system and an affine map.

Nothing here needs a package of the extra `geo`; where `rasterio` is installed it decides whether
two descriptions mean one reference system, else their names and EPSG numbers do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hsi.errors import DataError

Affine = tuple[float, float, float, float, float, float]

SAME_PIXEL = 1e-3
"""Grids whose corners are closer than this share of a pixel are one grid."""
WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]'
)
ANGLES = {"degrees": 1.0, "minutes": 1 / 60, "seconds": 1 / 3600}
LENGTHS = {"meters": 1.0, "metres": 1.0, "m": 1.0, "km": 1000.0, "feet": 0.3048}
"""Units of `map info` in degrees and in metres."""
NORTH_AMERICAN = {"27": (4267, 26700, 22), "83": (4269, 26900, 23)}
"""EPSG numbers of NAD27 and NAD83 in degrees, before the first UTM zone, and how many there are."""


@dataclass(frozen=True)
class Georeference:
    """The grid of a scene on a map.

    Attributes:
        crs: coordinate reference system as WKT; "" where unknown.
        transform: (a, b, c, d, e, f) as rasterio orders them: the upper left corner of the pixel
            in column `col` and row `row` (from 0) is at x = a col + b row + c,
            y = d col + e row + f, in the units of the reference system.

    Raises:
        DataError: numbers that map every pixel onto one line or point, or are not finite.
    """

    crs: str
    transform: Affine

    def __post_init__(self) -> None:
        a, b, _, d, e, _ = self.transform
        if not all(map(math.isfinite, self.transform)) or a * e == b * d:
            raise DataError(
                f"georeference: expected six numbers that span a grid, got {self.transform}."
            )

    @property
    def name(self) -> str:
        """What a user calls the reference system, such as "WGS 84 / UTM zone 33N (EPSG:32633)"."""
        if not self.crs:
            return "an unknown reference system"
        words = _title(self.crs)
        return f"{words} (EPSG:{self.epsg})" if self.epsg and "EPSG:" not in words else words

    @property
    def epsg(self) -> int | None:
        """The EPSG number that the description itself names, or None."""
        closing = r"\s*[\])]\s*$"
        for pattern in (r'AUTHORITY\s*[\[(]\s*"EPSG"\s*,\s*"(\d+)"\s*[\])]',
                        r'ID\s*[\[(]\s*"EPSG"\s*,\s*"?(\d+)"?\s*[\])]'):  # fmt: skip
            if found := re.search(pattern + closing, self.crs, re.IGNORECASE):
                return int(found[1])
        found = re.fullmatch(r"EPSG:(\d+)", self.crs.strip(), re.IGNORECASE)
        return int(found[1]) if found else None

    def xy(self, row: float, col: float) -> tuple[float, float]:
        """Where a place of the grid lies; (0.5, 0.5) is the centre of the first pixel."""
        a, b, c, d, e, f = self.transform
        return a * col + b * row + c, d * col + e * row + f

    def row_col(self, x: float, y: float) -> tuple[float, float]:
        """The inverse of `xy`: rows and columns as fractions, the first pixel in 0..1."""
        a, b, c, d, e, f = self.transform
        x, y, span = x - c, y - f, a * e - b * d
        return (a * y - d * x) / span, (e * x - b * y) / span

    def window(self, top: int, left: int) -> Georeference:
        """The grid of a part of the scene that begins at this row and column, from 0."""
        a, b, _, d, e, _ = self.transform
        x, y = self.xy(top, left)
        return Georeference(self.crs, (a, b, x, d, e, y))

    def same_crs(self, other: Georeference) -> bool:
        """Whether both are in one reference system; one that is unknown equals any."""
        if not self.crs or not other.crs or _plain(self.crs) == _plain(other.crs):
            return True
        if self.epsg and other.epsg:
            return self.epsg == other.epsg
        return _mean_the_same(self.crs, other.crs)

    def same_grid(self, other: Georeference, *, rows: int = 1, cols: int = 1) -> bool:
        """Whether both lay the corners of `rows` x `cols` pixels on the same places."""
        corners = ((0, 0), (0, cols), (rows, 0), (rows, cols))
        offsets = [self.row_col(*other.xy(*corner)) for corner in corners]
        return self.same_crs(other) and all(
            abs(found[0] - corner[0]) < SAME_PIXEL and abs(found[1] - corner[1]) < SAME_PIXEL
            for found, corner in zip(offsets, corners, strict=True)
        )


def from_gdal(crs: str, geotransform: Sequence[float]) -> Georeference:
    """From GDAL's order of the six numbers: c, a, b, f, d, e."""
    c, a, b, f, d, e = (float(value) for value in geotransform)
    return Georeference(crs, (a, b, c, d, e, f))


def to_gdal(georeference: Georeference) -> Affine:
    """The six numbers in GDAL's order: c, a, b, f, d, e."""
    a, b, c, d, e, f = georeference.transform
    return c, a, b, f, d, e


def from_envi(header: Mapping[str, object]) -> Georeference | None:
    """From the fields `map info` and `coordinate system string` of an ENVI header.

    Args:
        header: fields by lower-case name; lists as lists of strings.

    Returns:
        None where there is no map, or an arbitrary one of pixel numbers. In degrees or metres,
        whatever the `units` of `map info`, unless the reference system has another unit.

    Raises:
        DataError: a map whose numbers cannot be read, or in units that are not known.
    """
    fields = header.get("map info")
    if not isinstance(fields, list) or len(fields) < 7:
        return None
    words = [str(field).strip() for field in fields]
    pairs = (word.split("=", 1) for word in words if "=" in word)
    named = {name.strip().lower(): value.strip() for name, value in pairs}
    crs = _crs_of_header(header, words)
    unit = _unit_of_map(header, words[0], named.get("units", ""), crs)
    try:
        across, down, *lengths = (float(word) for word in words[1:7])
        x, y, width, height = (unit * length for length in lengths)
        turn = math.radians(-float(named.get("rotation", 0)))
    except ValueError:
        raise DataError(
            f"map info: expected numbers after the projection's name, got {', '.join(words)}."
        ) from None
    a, b = math.cos(turn) * width, -math.sin(turn) * width
    d, e = -math.sin(turn) * height, -math.cos(turn) * height
    if abs(turn) == math.pi:  # what programs write for rows that go up, as GDAL reads it
        a, b, d, e = width, 0.0, 0.0, height
    # Pixels count from 1, so that 1, 1 is the corner of the first one and 1.5, 1.5 its centre.
    c, f = x - a * (across - 1) - b * (down - 1), y - d * (across - 1) - e * (down - 1)
    if not crs and words[0].lower() in ("arbitrary", "") and (c, f, width) == (0, 0, 1):
        return None
    return Georeference(crs, (a, b + 0.0, c, d + 0.0, e, f))  # -0.0 becomes 0.0


def to_envi(georeference: Georeference) -> dict[str, str]:
    """The same two fields, as an ENVI header spells them.

    Raises:
        DataError: a grid that is mirrored (but for rows that go up), sheared or upside down:
            `map info` can say none of these.
    """
    a, b, c, d, e, f = georeference.transform
    width, height = math.hypot(a, b), math.hypot(d, e)
    goes_up = a > 0 and e > 0 and b == d == 0
    turn = -math.pi if goes_up else math.atan2(-b, a)
    expected = (0.0, height) if goes_up else (-math.sin(turn) * height, -math.cos(turn) * height)
    if abs(turn) == math.pi and not goes_up:
        expected = (math.inf, math.inf)
    if max(abs(d - expected[0]), abs(e - expected[1])) > 1e-9 * height:
        raise DataError(
            "georeference: an ENVI header cannot say a mirrored, sheared or upside-down grid; "
            "write GeoTIFF."
        )
    words = [_projection_of(georeference.crs), "1", "1", *(repr(v) for v in (c, f, width, height))]
    if zone := re.search(r"UTM[ _]zone[ _](\d+)([NS])", georeference.crs, re.IGNORECASE):
        words += [zone[1], {"N": "North", "S": "South"}[zone[2].upper()]]
    if re.search(r"WGS[ _](19)?84", georeference.crs):
        words.append("WGS-84")
    words.append("units=Degrees" if words[0] == "Geographic Lat/Lon" else "units=Meters")
    if turn:
        words.append(f"rotation={-math.degrees(turn)!r}")
    fields = {"map info": "{" + ", ".join(words) + "}"}
    if georeference.crs:
        fields["coordinate system string"] = "{" + " ".join(georeference.crs.split()) + "}"
    return fields


def _crs_of_header(header: Mapping[str, object], words: Sequence[str]) -> str:
    """The WKT of a header; without one that of WGS 84, NAD83 or NAD27, in degrees or UTM zones."""
    given = header.get("coordinate system string")
    if given:
        return ",".join(map(str, given)) if isinstance(given, list) else str(given)
    pattern = r"WGS[-_ ]?(?:19)?(84)|(?:NAD|North America(?:n Datum)?)[-_ ]?(?:19)?(83|27)"
    matches = (re.fullmatch(pattern, word, re.IGNORECASE) for word in words)
    datum = next((found[1] or found[2] for found in matches if found), "")
    if not datum:
        return ""
    degrees, zones, last = NORTH_AMERICAN.get(datum, (4326, 32600, 60))
    if words[0].lower().startswith("geographic"):
        return epsg_wkt(degrees)
    if words[0].upper() != "UTM" or len(words) < 9 or not words[7].isdecimal():
        return ""
    zone, north = int(words[7]), words[8].lower().startswith("n")
    if datum == "84":
        return utm_wkt(zone, north=north)
    return epsg_wkt(zones + zone) if north and 1 <= zone <= last else ""


def _unit_of_map(header: Mapping[str, object], projection: str, unit: str, crs: str) -> float:
    """What the numbers of `map info` are in degrees or metres; 1 where the system has others."""
    units: Mapping[str, float] = {}
    if stated := bool(header.get("coordinate system string")):
        sizes = re.findall(r'UNIT\s*[\[(]\s*"[^"]*"\s*,\s*(\d+\.?\d*)', crs, re.IGNORECASE)
        size = float(sizes[-1]) if sizes else 0.0
        units = LENGTHS if size == 1 else ANGLES if math.isclose(size, math.pi / 180) else {}
    elif projection.lower().startswith("geographic"):
        units = ANGLES
    elif projection.upper() == "UTM":
        units = LENGTHS
    if unit and units and not stated and unit.lower() not in units:
        raise DataError(
            f"map info: expected units {', '.join(name.title() for name in units)} of "
            f"{projection}, got {unit!r}; correct the header."
        )
    return units.get(unit.lower(), 1.0)


def utm_wkt(zone: int, *, north: bool) -> str:
    """WKT of a zone of the Universal Transverse Mercator system on WGS 84 (EPSG:326xx, 327xx)."""
    return (
        f'PROJCS["WGS 84 / UTM zone {zone}{"N" if north else "S"}",{WGS84},'
        'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],'
        f'PARAMETER["central_meridian",{6 * zone - 183}],PARAMETER["scale_factor",0.9996],'
        f'PARAMETER["false_easting",500000],PARAMETER["false_northing",{0 if north else 10000000}],'
        'UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH],'
        f'AUTHORITY["EPSG","{(32600 if north else 32700) + zone}"]]'
    )


def epsg_wkt(number: int) -> str:
    """WKT of an EPSG number: of WGS 84 and its UTM zones as known here, else as rasterio knows it.

    "EPSG:number" where rasterio is not installed or does not know it.
    """
    if number == 4326:
        return WGS84
    if 1 <= number % 100 <= 60 and number // 100 in (326, 327):
        return utm_wkt(number % 100, north=number // 100 == 326)
    try:
        from rasterio.crs import CRS
        from rasterio.errors import CRSError
    except ImportError:
        return f"EPSG:{number}"
    try:
        return str(CRS.from_epsg(number).to_wkt())
    except CRSError:
        return f"EPSG:{number}"


def to_rasterio(georeference: Georeference, *, where: str) -> dict[str, Any]:
    """Options of `rasterio.open` for a file on this grid: its transform and, if named, its CRS.

    Args:
        where: the file, for the text of errors.

    Raises:
        DataError: a reference system that GDAL cannot parse.
    """
    import rasterio

    options: dict[str, Any] = {"transform": rasterio.Affine(*georeference.transform)}
    if georeference.crs:
        try:
            with rasterio.Env():  # which keeps GDAL's own words off the screen
                options["crs"] = rasterio.CRS.from_user_input(georeference.crs)
        except rasterio.errors.CRSError as error:
            raise DataError(
                f"{where}: GDAL cannot read the reference system {georeference.crs[:40]!r}; "
                "correct it in the scene's file."
            ) from error
    return options


def _projection_of(crs: str) -> str:
    """ENVI's name of a projection, as the first word of `map info`."""
    if re.match(r"\s*(GEOGCS|GEOGCRS)", crs, re.IGNORECASE):
        return "Geographic Lat/Lon"
    if re.search(r"UTM[ _]zone", crs, re.IGNORECASE):
        return "UTM"
    return "Arbitrary" if not crs else "Projected"


def _plain(crs: str) -> str:
    return re.sub(r"\s+", "", crs).lower()


def _mean_the_same(one: str, other: str) -> bool:
    """Whether two descriptions mean one system: as PROJ says, without it by EPSG and names."""
    try:
        from rasterio.crs import CRS
        from rasterio.errors import CRSError
    except ImportError:
        return _letters(_title(one)) == _letters(_title(other))
    try:
        first_crs, second_crs = (CRS.from_user_input(text) for text in (one, other))
    except CRSError:
        return False
    if first_crs == second_crs:
        return True
    numbers = first_crs.to_epsg(), second_crs.to_epsg()
    return None not in numbers and numbers[0] == numbers[1]


def _title(crs: str) -> str:
    """The name that begins a description, or the description where it has none."""
    found = re.search(r'"([^"]*)"', crs)
    return found[1] if found else crs


def _letters(name: str) -> str:
    """A name without what differs between writers: "WGS_1984_UTM_Zone_33N" -> "wgs84utmzone33n"."""
    return re.sub(r"[\W_]+", "", name).lower().replace("wgs1984", "wgs84")
