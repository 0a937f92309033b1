"""Training tasks: an anomaly made in a healthy image, with its mask (few_shot_localization.txt section 5.1).

The choice of tasks follows Baugh et al. 2023, Many tasks make light work.
"""

from anomalabel.training.tasks.draw import TaskExample, draw_task

__all__ = ["TaskExample", "draw_task"]
