"""agents: training and evaluating learned schedulers (stable-baselines3), statistics of comparisons, export."""
