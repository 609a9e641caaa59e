"""Files as they are deployed: one face for Keras and `.tflite`, their sizes and their speed."""
