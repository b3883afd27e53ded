"""The foundation of all other packages: errors, registries, records and progress. Imports no torch."""
