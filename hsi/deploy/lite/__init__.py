"""A `.tflite` file seen as a network of layers, as a Keras model is.

- `steps`: which operators are one layer, and the names that it goes by; needs no TensorFlow.
- `layers`: the layers with their maps and gradients, for methods that look into a network, and
  the score of a file (`lite_score`).
- `input_axes`: which axis of the input holds the channels.
- `graph`: the nodes and the kernels of a file, to draw them, also where an operator is not known.

What an operator computes is in `hsi.deploy.differentiable`.
"""
