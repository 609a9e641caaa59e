"""Writing results in the formats of the field.

class_maps    class numbers with their legend: GeoTIFF, ENVI classification, NumPy, PNG
cubes         spectra or attributions with their wavelengths
"""
