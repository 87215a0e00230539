"""Workers: the only package that talks to the database and to Redis."""
