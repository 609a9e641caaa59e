"""Two models side by side: whether they answer alike, and whether they look at the same things.

    subjects         the variants and the samples that they have in common
    same_data        whether they were made on the same data
    outputs          classes, probabilities and accuracies; needs no TensorFlow
    cost             parameters, multiply-accumulates, bytes, latency
    layers           layer by layer, a Keras model and its converted file
    attributions     how alike two maps are
    explained        a variant as it is explained
    explanations     attributions of variants, beside what another seed and random weights give
    faithfulness     deletion and insertion
    representations  linear CKA of all layers with all layers
    batches          of the same samples for two networks
    features         which features of a layer another one still has
    sanity           attributions while layer after layer is randomised; `redraw` draws the weights
    means            means over samples, with intervals
    inside           explanations, faithfulness and representations together; `inside_tables` of it
    comparison       whatever was asked for, of several variants; `columns` of its table
    conclusion       what the numbers say in words; `wording` of the numbers, `series` of variants
    limits           numbers that must not be fallen below

What takes arrays (outputs, attributions, means) knows no files; `hsi.views.compared` finds these.
"""
