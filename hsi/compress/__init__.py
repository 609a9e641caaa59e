"""Making a trained network smaller.

    calls     a model as the list of its layer calls
    space     channel ids along the axes of tensors
    layers    what each layer type does to channels; a new type is one small class there
    graph     which channels of a network must go together (groups)
    surgery   a really smaller network without those channels
    masking   the original network with those channels zeroed: what surgery must equal
    criteria  which channels and weights matter least (APoZ, L1, Taylor ...)
    schedule  in what order channels go
    plan      what would go, before anything goes; budgets
    compensation  what removed channels gave on average goes into their consumers' biases
    granularity, weights, magnitude  which weights become zero, and stay so
    fold      the same function by fewer layers; the preparation as a part of the network
    lowrank   kernels as products of smaller ones
    separable  convolutions replaced by depthwise-separable ones
    quantize  `.tflite` files, in every mode; planar writes 3-D layers as 2-D ones first, unrolled
              recurrent ones as chains
    aware     training that knows of rounding or clustering to come; fused puts layers into the
              one before them first
    bitwidth, integer_sums, widths  what a network would answer with so many bits
    distill   a student learns a teacher's scores
    forms     the eight forms of a patch, for students
    cost      parameters and multiply-accumulates

Importing the package loads no TensorFlow; most of its modules do.
"""
