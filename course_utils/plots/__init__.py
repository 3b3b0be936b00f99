"""Every figure of the course, each with its text description; none of them knows of models.

``general`` holds the kinds of figure that any lesson draws, ``adaptation``, ``gains`` and ``bias``
those of one subject, ``tokens`` the way from a text to its vector, ``scale`` what search costs as texts grow in number, ``projection`` the way to a flat map, ``drawing`` how a figure is made,
labelled and described, ``svg`` the line chart that stands inside a widget.
"""

from course_utils.plots.adaptation import bottleneck_diagram, learning_curve, rank_histogram
from course_utils.plots.bias import template_plot
from course_utils.plots.gains import ladder_plot, slope_chart
from course_utils.plots.general import (
    interval_plot,
    line_curve,
    scatter_map,
    similarity_heatmap,
    tradeoff_plot,
)
from course_utils.plots.projection import umap_projection
from course_utils.plots.scale import scale_plot
from course_utils.plots.tokens import pooling_diagram

__all__ = [
    "bottleneck_diagram",
    "interval_plot",
    "ladder_plot",
    "learning_curve",
    "line_curve",
    "pooling_diagram",
    "rank_histogram",
    "scale_plot",
    "scatter_map",
    "similarity_heatmap",
    "slope_chart",
    "template_plot",
    "tradeoff_plot",
    "umap_projection",
]
