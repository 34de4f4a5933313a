"""From a finished output to a training loop and back: slices, patches, a data set of them, the score of detections."""
