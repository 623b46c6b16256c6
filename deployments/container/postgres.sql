-- Run once by PostgreSQL's image, when its volume is empty: a role and a database each for WishCraft and for Prefect,
-- neither of which can open the other's.
\set wishcraft `cat /run/secrets/database_password_wishcraft`
\set prefect `cat /run/secrets/database_password_prefect`

CREATE ROLE wishcraft LOGIN PASSWORD :'wishcraft';
CREATE DATABASE wishcraft OWNER wishcraft;
REVOKE ALL ON DATABASE wishcraft FROM PUBLIC;

CREATE ROLE prefect LOGIN PASSWORD :'prefect';
CREATE DATABASE prefect OWNER prefect;
REVOKE ALL ON DATABASE prefect FROM PUBLIC;

\connect wishcraft
CREATE EXTENSION pg_stat_statements;
