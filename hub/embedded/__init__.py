"""Servers that run as the hub's own child processes, and what keeps them alive.

One concern: start, watch, recover and stop PostgreSQL, Redis, the MQTT broker and Airflow, without touching anything
outside the hub's own folders. It must never know what the hub uses these servers for.
"""
