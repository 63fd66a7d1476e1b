-- The solver database is a contract: names, types, nullability, keys and checks are shared with swpt_trade, whose solver,
-- workers and admin nodes may use the same tables at the same time. What is allowed to be added: tables, columns that
-- may be NULL, and indexes that are not unique.
--
-- If swpt_trade was here first, its tables are taken as they are, after a check.

CREATE TABLE IF NOT EXISTS collector_account (
    debtor_id BIGINT NOT NULL,
    collector_id BIGINT NOT NULL,
    collector_hash SMALLINT NOT NULL,
    account_id VARCHAR NOT NULL,
    status SMALLINT NOT NULL CHECK (status BETWEEN 0 AND 3),
    latest_status_change_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (debtor_id, collector_id) INCLUDE (status)
);

CREATE TABLE IF NOT EXISTS turn (
    turn_id SERIAL PRIMARY KEY,
    started_at TIMESTAMPTZ NOT NULL,
    base_debtor_info_locator VARCHAR NOT NULL,
    base_debtor_id BIGINT NOT NULL CHECK (base_debtor_id <> 0),
    max_distance_to_base SMALLINT NOT NULL CHECK (max_distance_to_base > 0),
    min_trade_amount BIGINT NOT NULL CHECK (min_trade_amount > 0),
    phase SMALLINT NOT NULL CHECK (phase > 0 AND phase <= 4),
    phase_deadline TIMESTAMPTZ CHECK (phase > 2 OR phase_deadline IS NOT NULL),
    collection_started_at TIMESTAMPTZ CHECK (phase < 3 OR collection_started_at IS NOT NULL),
    collection_deadline TIMESTAMPTZ CHECK (phase < 2 OR collection_deadline IS NOT NULL)
);

CREATE TABLE IF NOT EXISTS debtor_info (
    turn_id INTEGER NOT NULL,
    debtor_info_locator VARCHAR NOT NULL,
    debtor_id BIGINT NOT NULL,
    peg_debtor_info_locator VARCHAR,
    peg_debtor_id BIGINT,
    peg_exchange_rate DOUBLE PRECISION,
    PRIMARY KEY (turn_id, debtor_info_locator)
);

CREATE TABLE IF NOT EXISTS confirmed_debtor (
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    debtor_info_locator VARCHAR NOT NULL,
    PRIMARY KEY (turn_id, debtor_id)
);

CREATE TABLE IF NOT EXISTS currency_info (
    turn_id INTEGER NOT NULL,
    debtor_info_locator VARCHAR NOT NULL,
    debtor_id BIGINT NOT NULL,
    peg_debtor_info_locator VARCHAR,
    peg_debtor_id BIGINT,
    peg_exchange_rate DOUBLE PRECISION,
    is_confirmed BOOLEAN NOT NULL,
    PRIMARY KEY (turn_id, debtor_info_locator)
);

CREATE TABLE IF NOT EXISTS sell_offer (
    turn_id INTEGER NOT NULL,
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    collector_id BIGINT NOT NULL,
    PRIMARY KEY (turn_id, creditor_id, debtor_id)
);

CREATE TABLE IF NOT EXISTS buy_offer (
    turn_id INTEGER NOT NULL,
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    PRIMARY KEY (turn_id, creditor_id, debtor_id)
);

CREATE TABLE IF NOT EXISTS creditor_taking (
    turn_id INTEGER NOT NULL,
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_hash SMALLINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    collector_id BIGINT NOT NULL,
    PRIMARY KEY (turn_id, creditor_id, debtor_id)
);

CREATE TABLE IF NOT EXISTS creditor_giving (
    turn_id INTEGER NOT NULL,
    creditor_id BIGINT NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_hash SMALLINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    collector_id BIGINT NOT NULL,
    PRIMARY KEY (turn_id, creditor_id, debtor_id)
);

CREATE TABLE IF NOT EXISTS collector_collecting (
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_id BIGINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    collector_id BIGINT NOT NULL,
    collector_hash SMALLINT NOT NULL,
    PRIMARY KEY (turn_id, debtor_id, creditor_id)
);

CREATE TABLE IF NOT EXISTS collector_dispatching (
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    creditor_id BIGINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    collector_id BIGINT NOT NULL,
    collector_hash SMALLINT NOT NULL,
    PRIMARY KEY (turn_id, debtor_id, creditor_id)
);

CREATE TABLE IF NOT EXISTS collector_sending (
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    from_collector_id BIGINT NOT NULL,
    to_collector_id BIGINT NOT NULL,
    from_collector_hash SMALLINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    PRIMARY KEY (turn_id, debtor_id, from_collector_id, to_collector_id),
    CHECK (from_collector_id <> to_collector_id)
);

CREATE TABLE IF NOT EXISTS collector_receiving (
    turn_id INTEGER NOT NULL,
    debtor_id BIGINT NOT NULL,
    to_collector_id BIGINT NOT NULL,
    from_collector_id BIGINT NOT NULL,
    to_collector_hash SMALLINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    PRIMARY KEY (turn_id, debtor_id, to_collector_id, from_collector_id),
    CHECK (from_collector_id <> to_collector_id)
);

-- An outdated swpt_trade, or a program that happens to use the same names, must be noticed now, and not in the middle of
-- a turn. What may be NULL is marked with "?". Further columns are all right if whoever inserts a row can ignore them.
DO $$
DECLARE
    difference TEXT;
BEGIN
    WITH
        contract (table_name, columns) AS (
            VALUES
                ('collector_account', 'debtor_id bigint, collector_id bigint, collector_hash smallint, '
                    'account_id character varying, status smallint, '
                    'latest_status_change_at timestamp with time zone'),
                ('turn', 'turn_id integer, started_at timestamp with time zone, '
                    'base_debtor_info_locator character varying, base_debtor_id bigint, '
                    'max_distance_to_base smallint, min_trade_amount bigint, phase smallint, '
                    'phase_deadline timestamp with time zone?, collection_started_at timestamp with time zone?, '
                    'collection_deadline timestamp with time zone?'),
                ('debtor_info', 'turn_id integer, debtor_info_locator character varying, debtor_id bigint, '
                    'peg_debtor_info_locator character varying?, peg_debtor_id bigint?, '
                    'peg_exchange_rate double precision?'),
                ('confirmed_debtor', 'turn_id integer, debtor_id bigint, debtor_info_locator character varying'),
                ('currency_info', 'turn_id integer, debtor_info_locator character varying, debtor_id bigint, '
                    'peg_debtor_info_locator character varying?, peg_debtor_id bigint?, '
                    'peg_exchange_rate double precision?, is_confirmed boolean'),
                ('sell_offer', 'turn_id integer, creditor_id bigint, debtor_id bigint, amount bigint, '
                    'collector_id bigint'),
                ('buy_offer', 'turn_id integer, creditor_id bigint, debtor_id bigint, amount bigint'),
                ('creditor_taking', 'turn_id integer, creditor_id bigint, debtor_id bigint, '
                    'creditor_hash smallint, amount bigint, collector_id bigint'),
                ('creditor_giving', 'turn_id integer, creditor_id bigint, debtor_id bigint, '
                    'creditor_hash smallint, amount bigint, collector_id bigint'),
                ('collector_collecting', 'turn_id integer, debtor_id bigint, creditor_id bigint, amount bigint, '
                    'collector_id bigint, collector_hash smallint'),
                ('collector_dispatching', 'turn_id integer, debtor_id bigint, creditor_id bigint, amount bigint, '
                    'collector_id bigint, collector_hash smallint'),
                ('collector_sending', 'turn_id integer, debtor_id bigint, from_collector_id bigint, '
                    'to_collector_id bigint, from_collector_hash smallint, amount bigint'),
                ('collector_receiving', 'turn_id integer, debtor_id bigint, to_collector_id bigint, '
                    'from_collector_id bigint, to_collector_hash smallint, amount bigint')
        ),
        wanted AS (
            SELECT table_name, regexp_split_to_table(columns, ', ') AS definition FROM contract
        ),
        found AS (
            SELECT
                pg_class.relname::TEXT AS table_name,
                attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN '' ELSE '?' END
                    AS definition,
                attnotnull AND NOT atthasdef AS has_to_be_inserted
            FROM pg_attribute
            JOIN pg_class ON pg_class.oid = attrelid
            JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname = current_schema() AND attnum > 0 AND NOT attisdropped
        ),
        differences AS (
            SELECT format('%s lacks "%s"', table_name, definition) AS difference
            FROM (SELECT * FROM wanted EXCEPT SELECT table_name, definition FROM found) AS lacking
            UNION ALL
            SELECT format('%s demands "%s"', table_name, definition)
            FROM found
            JOIN contract USING (table_name)
            WHERE has_to_be_inserted AND (table_name, definition) NOT IN (SELECT * FROM wanted)
        )
    SELECT string_agg(differences.difference, '; ') INTO difference FROM differences;

    IF difference IS NOT NULL THEN
        RAISE EXCEPTION 'the tables in the schema "%" are not those of a solver: %', current_schema(), difference;
    END IF;
END
$$;

CREATE INDEX IF NOT EXISTS idx_collector_account_creation_request ON collector_account (status) WHERE status = 0;
CREATE INDEX IF NOT EXISTS idx_turn_phase ON turn (phase) WHERE phase < 4;
CREATE INDEX IF NOT EXISTS idx_turn_started_at ON turn (started_at);
CREATE UNIQUE INDEX IF NOT EXISTS idx_currency_info_confirmed_debtor_id ON currency_info (turn_id, debtor_id)
WHERE is_confirmed;
