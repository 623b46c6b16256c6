-- Takes from the role wishcraft_analyst every function with a side effect: docs/decisions/0020-confinement.md.
-- For a superuser, in WishCraft's database: psql --file analysts.sql --single-transaction wishcraft
-- Run it again after an extension or another major version was installed. `ask` refuses while something is missing.
DO $$
DECLARE
    harmless CONSTANT text[] := ARRAY[
        'array_sample', 'array_shuffle', 'clock_timestamp', 'gen_random_uuid', 'pg_is_in_recovery', 'pg_sleep',
        'pg_sleep_for', 'pg_sleep_until', 'random', 'random_normal', 'set_limit', 'timeofday', 'uuidv4', 'uuidv7'
    ];
    owner text := (SELECT quote_ident(pg_get_userbyid(datdba)) FROM pg_database WHERE datname = current_database());
    forbidden regprocedure;
    setting text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'wishcraft_analyst') THEN
        CREATE ROLE wishcraft_analyst;
    END IF;
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    -- Everybody may execute a function unless it is taken from everybody: the application and monitoring keep it.
    FOR forbidden IN
        SELECT oid FROM pg_proc
        WHERE (provolatile = 'v' AND proname <> ALL (harmless) OR proname IN ('pg_current_xact_id', 'txid_current'))
            AND (
                has_function_privilege('wishcraft_analyst', oid, 'EXECUTE')
                -- Or taken before, when another role owned the database.
                OR has_function_privilege('pg_monitor', oid, 'EXECUTE')
                    AND NOT EXISTS (SELECT FROM pg_init_privs WHERE objoid = pg_proc.oid AND classoid = 'pg_proc'::regclass)
            )
    LOOP
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s, pg_monitor', forbidden, owner);
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, wishcraft_analyst', forbidden);
    END LOOP;
    -- Only a superuser can set these, so that a query cannot set them back.
    FOREACH setting IN ARRAY ARRAY[
        'temp_file_limit = ''1GB''', 'log_min_messages = fatal', 'log_min_error_statement = fatal'
    ]
    LOOP
        EXECUTE format('ALTER ROLE wishcraft_analyst IN DATABASE %I SET %s', current_database(), setting);
    END LOOP;
END
$$;
