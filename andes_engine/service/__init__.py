"""What surrounds the planner in a serving process: metrics, events, a policy that can be exchanged, a trace of decisions.

Nothing here knows vLLM. The scheduler calls `service.Service` before and after each of its steps; whatever fails in here is
counted and told, and costs no request anything.
"""
