"""Making a trained network smaller.

    calls     a model as the list of its layer calls
    space     channel ids along the axes of tensors
    layers    what each layer type does to channels; a new type is one small class there
    graph     which channels of a network must go together (groups)
    surgery   a really smaller network without those channels
    masking   the original network with those channels zeroed: what surgery must equal
    criteria  which channels matter least (APoZ ...)
    schedule  how many to take, and which
    cost      parameters and multiply-accumulates

Importing the package loads no TensorFlow; most of its modules do.
"""
