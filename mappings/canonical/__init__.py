"""The canonical data model: one language for every fact the hub keeps."""
