<<<<<<< HEAD
"""Measurements of this project's own speed, beside that of others. Nothing here is imported by the packages."""
=======
"""Timings and the rivals they are measured against."""
>>>>>>> wt-rivals
