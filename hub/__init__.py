"""Liên Thông: the integration hub and message broker of a city's education sector."""
