"""What surrounds the planner in a serving process: metrics, events, a policy that can be exchanged, a trace of decisions.

Nothing here knows vLLM. The scheduler calls `service.Service` before and after each of its steps; whatever fails in here is
counted and told, and costs no request anything.
"""

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of the folder that `prometheus_client` shares metrics between processes in. Here, where importing it
imports nothing else: it must be set before `prometheus_client` is imported."""
