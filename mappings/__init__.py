"""Mappings: the canonical model, code systems, crosswalks, field maps and the engine that applies them."""
