"""Workers: what talks to the database and to Redis.

The floors, from the top: main; queries, outbox, processing, client; queue; inbox, server_checks;
database; runtime; settings, signing, timestamps. Imports only go down.
"""
