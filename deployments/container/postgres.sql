-- Run once by PostgreSQL's image, when its volume is empty: a role and a database each for WishCraft and Prefect,
-- without access to the other's, and a read-only role for analysts, which analysts.sql confines; the migrations grant
-- its views.
\set wishcraft `cat /run/secrets/database_password_wishcraft`
\set analyst `cat /run/secrets/database_password_analyst`
\set prefect `cat /run/secrets/database_password_prefect`

CREATE ROLE wishcraft LOGIN PASSWORD :'wishcraft';
CREATE DATABASE wishcraft OWNER wishcraft;
REVOKE ALL ON DATABASE wishcraft FROM PUBLIC;
CREATE ROLE wishcraft_analyst LOGIN PASSWORD :'analyst';
GRANT CONNECT ON DATABASE wishcraft TO wishcraft_analyst;
GRANT wishcraft_analyst TO wishcraft;

CREATE ROLE prefect LOGIN PASSWORD :'prefect';
CREATE DATABASE prefect OWNER prefect;
REVOKE ALL ON DATABASE prefect FROM PUBLIC;

\connect wishcraft
CREATE EXTENSION pg_stat_statements;
\i /wishcraft/analysts.sql
