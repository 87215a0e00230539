"""Migrations: how the schema came to be, one step per file, run by Alembic."""
