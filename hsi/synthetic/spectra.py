"""Reflectance spectra and the light of a clear day, as functions of wavelength.

These are parametric curves *in the manner of* the cited work, with round parameters chosen by
hand so that the features lie where they lie in nature. They are not measured spectra and not
radiative transfer; no spectral library went into them. They exist to make the embedded scene
(`hsi.synthetic`) behave like a scene of an imaging spectrometer.

Every function takes `wavelengths`, (bands,) in nm, and returns (bands,) float64. Reflectance is
a ratio, 0..1.

Sources of the shapes:
    leaves: pigments, water and dry matter as absorbers, after PROSPECT (Jacquemoud and Baret
        1990, Remote Sensing of Environment 34); reflectance of a thick stack of them by
        Kubelka and Munk (1931).
    water: Curcio and Petty (1951), JOSA 41: maxima near 970, 1200, 1450 and 1940 nm; seen in
        canopies by Gao (1996), Remote Sensing of Environment 58 (NDWI).
    dry plants: cellulose and lignin near 1730, 2100 and 2300 nm: Elvidge (1990), Int. J. Remote
        Sensing 11.
    soils: Stoner and Baumgardner (1981), Soil Sci. Soc. Am. J. 45; Baumgardner et al. (1985),
        Advances in Agronomy 38: organic matter, iron (below 600 and near 870 nm), clay (2200 nm).
    wet soil: darker, most of all where water absorbs: Lobell and Asner (2002), Soil Sci. Soc.
        Am. J. 66.
    sun: a black body of 5778 K at one astronomical unit; Rayleigh scattering as the inverse
        fourth power of the wavelength.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

# Absorption of liquid water: wavelength in nm, coefficient in 1/cm. Round values through the
# maxima and minima of the published curve; between them the logarithm is interpolated.
_WATER = np.array(
    [
        (350, 0.0005), (600, 0.002), (700, 0.006), (750, 0.026), (800, 0.021), (840, 0.04),
        (900, 0.07), (970, 0.46), (1070, 0.15), (1100, 0.2), (1200, 1.25), (1270, 1.0),
        (1350, 3.0), (1400, 12.0), (1450, 31.0), (1500, 19.0), (1600, 6.8), (1670, 5.6),
        (1750, 7.5), (1830, 9.0), (1880, 25.0), (1940, 120.0), (2000, 68.0), (2100, 24.0),
        (2210, 17.0), (2300, 25.0), (2400, 45.0), (2550, 100.0),
    ]
)  # fmt: skip


def bell(wavelengths: np.ndarray, centre: float, width: float) -> np.ndarray:
    """A Gaussian of height 1; `centre` and standard deviation `width` in nm."""
    return np.exp(-0.5 * ((wavelengths - centre) / width) ** 2)


def _dips(wavelengths: np.ndarray, *dips: tuple[float, float, float]) -> np.ndarray:
    """The factor 1 - sum of bells, each dip given as (centre, width, depth)."""
    factor = np.ones_like(wavelengths, dtype=float)
    for centre, width, depth in dips:
        factor -= depth * bell(wavelengths, centre, width)
    return factor


def water_absorption(wavelengths: np.ndarray) -> np.ndarray:
    """Absorption coefficient of liquid water, 1/cm."""
    return np.exp(PchipInterpolator(_WATER[:, 0], np.log(_WATER[:, 1]))(wavelengths))


def leaves(
    wavelengths: np.ndarray,
    *,
    chlorophyll: float = 1.0,
    carotenoid: float = 1.0,
    water: float = 0.1,
    dry: float = 1.0,
    air: float = 0.2,
) -> np.ndarray:
    """Reflectance of a thick stack of leaves.

    R = 1 + q - sqrt(q^2 + 2 q), where q = absorption / scattering is the sum of the absorbers.

    Args:
        chlorophyll, carotenoid, dry: amounts relative to a healthy leaf.
        water: cm of water per unit of scattering; 0.1 is turgid, 0.02 wilted.
        air: q on the plateau of the near infrared; less of it is a brighter plateau.
    """
    w = wavelengths
    green = (
        10 * bell(w, 675, 16) + 5 * bell(w, 645, 25) + 3.2 * bell(w, 600, 35)
        + 2.2 * bell(w, 545, 45) + 12 * bell(w, 430, 32) + 8 * bell(w, 465, 22)
    )  # fmt: skip
    yellow = 7 * bell(w, 480, 26) + 6 * bell(w, 445, 30)
    cellulose = (
        0.12 * bell(w, 1730, 45) + 0.45 * bell(w, 2100, 70) + 0.6 * bell(w, 2310, 70)
        + 0.15 * bell(w, 1200, 60) + 0.9 * np.exp(-(w - 400) / 120)
    )  # fmt: skip
    q = air + chlorophyll * green + carotenoid * yellow
    q = q + water * water_absorption(w) + dry * cellulose
    return 1 + q - np.sqrt(q * q + 2 * q)


def litter(wavelengths: np.ndarray, *, brightness: float = 0.5, age: float = 0.5) -> np.ndarray:
    """Reflectance of dry plant residue: no red edge, but cellulose and lignin.

    Args:
        brightness: reflectance near 1300 nm.
        age: 0 fresh straw (bright in the visible, deep cellulose bands) .. 1 weathered.
    """
    w = wavelengths
    rise = 1 / (1 + np.exp(-(w - 620 - 160 * age) / (150 + 60 * age)))
    fall = 1 - 0.3 * np.clip((w - 1400) / 1100, 0, 1)
    depth = 1 - 0.5 * age
    features = _dips(
        w, (1450, 40, 0.14), (1730, 40, 0.05 * depth), (1935, 50, 0.24),
        (2100, 50, 0.22 * depth), (2310, 55, 0.18 * depth),
    )  # fmt: skip
    return brightness * (0.16 + 0.84 * rise) * fall * features


def soil(
    wavelengths: np.ndarray,
    *,
    brightness: float = 0.35,
    organic: float = 0.3,
    iron: float = 0.3,
    clay: float = 0.3,
    moisture: float = 0.0,
) -> np.ndarray:
    """Reflectance of bare soil: a slope, with iron, clay and moisture.

    Args:
        brightness: reflectance that the dry soil tends to in the short-wave infrared.
        organic: 0 a straight-shouldered slope .. 1 the slow, concave slope of a black soil.
        iron, clay: 0..1, depth of the iron bands (blue, 870 nm) and of the 2200 nm band.
        moisture: 0 dry .. 1 saturated.
    """
    w = wavelengths
    slope = 1 - np.exp(-np.clip(w - 300, 0, None) / (300 + 600 * organic))
    features = _dips(
        w, (470, 70, 0.45 * iron), (870, 70, 0.2 * iron), (1415, 25, 0.1 + 0.1 * clay),
        (1920, 45, 0.16 + 0.12 * clay), (2205, 22, 0.25 * clay), (2345, 30, 0.12 * clay),
    )  # fmt: skip
    wet = np.exp(-moisture * (0.55 + 0.012 * water_absorption(w)))
    return brightness * slope * features * wet


def asphalt(wavelengths: np.ndarray) -> np.ndarray:
    """Reflectance of worn asphalt: dark, slowly rising, hydrocarbons near 2310 nm."""
    rise = 0.07 + 0.09 * (1 - np.exp(-(wavelengths - 350) / 700))
    return rise * _dips(wavelengths, (1730, 25, 0.03), (2310, 30, 0.08))


def stone(wavelengths: np.ndarray, *, brightness: float = 0.4) -> np.ndarray:
    """Reflectance of limestone gravel or concrete: bright, flat, carbonate at 2340 nm."""
    rise = 0.55 + 0.45 * (1 - np.exp(-(wavelengths - 350) / 250))
    return (
        brightness * rise * _dips(wavelengths, (1415, 25, 0.05), (1930, 45, 0.1), (2340, 28, 0.2))
    )


def steel(wavelengths: np.ndarray) -> np.ndarray:
    """Reflectance of galvanised sheet: flat, with the dip of zinc oxide in the blue."""
    return (
        0.42
        * _dips(wavelengths, (380, 40, 0.5), (1020, 130, 0.12))
        * (1 - 0.1 * (wavelengths - 400) / 2100)
    )


def red_roof(wavelengths: np.ndarray) -> np.ndarray:
    """Reflectance of red paint or tile: an iron edge near 580 nm and a band near 870 nm."""
    edge = 1 / (1 + np.exp(-(wavelengths - 585) / 18))
    return (0.06 + 0.26 * edge) * _dips(wavelengths, (870, 60, 0.18), (1930, 50, 0.08))


def open_water(wavelengths: np.ndarray) -> np.ndarray:
    """Reflectance of a turbid creek: a few percent in the green and red, none beyond 900 nm."""
    murky = 0.07 * bell(wavelengths, 580, 90) + 0.02 * bell(wavelengths, 800, 30)
    return 0.012 + murky


def endmembers(wavelengths: np.ndarray) -> dict[str, np.ndarray]:
    """The pure materials of the embedded scene: name -> (bands,) reflectance."""
    w = wavelengths
    return {
        "black soil": soil(w, brightness=0.31, organic=0.8, iron=0.15, clay=0.35),
        "pale soil": soil(w, brightness=0.50, organic=0.2, iron=0.45, clay=0.5),
        "eroded soil": soil(w, brightness=0.44, organic=0.1, iron=0.9, clay=0.8),
        "wet soil": soil(w, brightness=0.34, organic=0.6, iron=0.25, clay=0.4, moisture=0.8),
        "maize stubble": litter(w, brightness=0.42, age=0.75),
        "bean stubble": litter(w, brightness=0.36, age=1.0),
        "straw": litter(w, brightness=0.58, age=0.05),
        "maize": leaves(w, chlorophyll=1.0, water=0.10, dry=0.8, air=0.26),
        "bean": leaves(w, chlorophyll=0.75, carotenoid=0.8, water=0.085, dry=0.6, air=0.14),
        "clover": leaves(w, chlorophyll=1.3, water=0.12, dry=0.6, air=0.16),
        "grass": leaves(w, chlorophyll=0.7, carotenoid=0.9, water=0.065, dry=1.4, air=0.24),
        "sward": leaves(w, chlorophyll=0.85, carotenoid=0.9, water=0.075, dry=1.2, air=0.2),
        "ripening ears": leaves(w, chlorophyll=0.16, carotenoid=0.7, water=0.03, dry=2.2, air=0.3),
        "green ears": leaves(w, chlorophyll=0.45, carotenoid=0.8, water=0.07, dry=1.5, air=0.2),
        "tree crowns": leaves(w, chlorophyll=1.2, water=0.095, dry=1.1, air=0.3),
        "yellow leaves": leaves(w, chlorophyll=0.25, carotenoid=1.1, water=0.06, dry=1.5, air=0.25),
        "asphalt": asphalt(w),
        "stone": stone(w),
        "steel": steel(w),
        "red roof": red_roof(w),
        "water": open_water(w),
        "shadow": 0.015 * np.exp(-(w - 400) / 600) + 0.002,
    }


def solar_irradiance(wavelengths: np.ndarray) -> np.ndarray:
    """Irradiance above the atmosphere, in microwatt / (cm^2 nm): Planck's law at 5778 K."""
    metres = wavelengths * 1e-9
    exitance = 3.7418e-16 / (metres**5 * np.expm1(1.43878e-2 / (metres * 5778)))  # W / m^3
    return exitance * (6.957e8 / 1.496e11) ** 2 * 1e-7


def transmittance(wavelengths: np.ndarray) -> np.ndarray:
    """Transmittance of a clear, moist atmosphere along sun, ground and sensor, 0..1.

    Depths: Rayleigh and aerosol scattering, the oxygen line at 760 nm, ozone near 600 nm, water
    vapour (720 to 1900 nm), carbon dioxide near 2010 and 2060 nm.
    """
    w = wavelengths
    depth = 0.33 * (w / 400) ** -4.0 + 0.22 * (w / 550) ** -1.3 + 0.05 * bell(w, 600, 60)
    lines = [
        (720, 7, 0.16), (761, 5, 0.45), (820, 10, 0.17), (937, 17, 0.95), (1130, 20, 0.85),
        (1375, 28, 4.5), (1470, 40, 0.35), (1870, 38, 5.5), (1770, 30, 0.3), (2008, 12, 0.55),
        (2060, 12, 0.3), (2480, 60, 0.6), (1950, 25, 0.6),
    ]  # fmt: skip
    for centre, width, strength in lines:
        depth = depth + strength * bell(w, centre, width)
    return np.exp(-depth)


def path_radiance(wavelengths: np.ndarray) -> np.ndarray:
    """Light scattered into the sensor without touching the ground, microwatt/(cm^2 nm sr)."""
    scattered = 0.07 * (wavelengths / 400) ** -4.0 + 0.024 * (wavelengths / 550) ** -1.3
    return solar_irradiance(wavelengths) / np.pi * scattered
