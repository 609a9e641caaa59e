"""Maps of whole scenes, also of scenes larger than the memory.

    mapping      the whole way: checks, tiles, smoothing, the file
    made_for     what a model file was made for, and the bands of a scene that it takes
    scenes       the scene: a file read by windows, or one of the catalogue
    tiles        how large tiles may be, and their pixels as the model takes them
    tile_work    the classes of one tile
    running      all tiles, here or by workers (cluster)
    unfinished   labels and journal on the disk: a stopped job goes on
    smoothing    a Potts model over the scores

    classify(Request("scene.hdr", "outputs/cao_scene/trained_model.h5", "map.tif"))

A tile is read with the margin of half a patch and goes through the network as a scene of its own
(`hsi.predict.scene_scores`), so every pixel gets the class of its own patch.
"""

from hsi.classify.mapping import Request, classify

__all__ = ["Request", "classify"]
