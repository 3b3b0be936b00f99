"""Controls to play with, one file a lesson; each is a labelled box whose parts code can drive."""
