"""How task maps reach workers: one file per kind of worker."""
