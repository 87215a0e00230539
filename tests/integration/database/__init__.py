"""Database tests: schema, migrations, repository and archive."""
