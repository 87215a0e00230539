"""Database: engine, schema, mappers, repository, archive and migrations."""
