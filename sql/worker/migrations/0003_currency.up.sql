-- What is known about currencies: documents on the web, which of them a debtor calls its own, and what is to be fetched.

CREATE TABLE debtor_info_document (
    debtor_info_locator TEXT PRIMARY KEY,
    debtor_id BIGINT NOT NULL,
    peg_debtor_info_locator TEXT,
    peg_debtor_id BIGINT,
    peg_exchange_rate FLOAT8 CHECK (peg_exchange_rate >= 0),
    will_not_change_until TIMESTAMPTZ,
    fetched_at TIMESTAMPTZ NOT NULL,

    CHECK (num_nulls(peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate) IN (0, 3))
);

CREATE TABLE debtor_locator_claim (
    debtor_id BIGINT PRIMARY KEY,
    debtor_info_locator TEXT, -- NULL: the debtor has not confirmed any
    latest_locator_fetch_at TIMESTAMPTZ,
    latest_discovery_fetch_at TIMESTAMPTZ NOT NULL,
    forced_locator_refetch_at TIMESTAMPTZ,

    CHECK ((debtor_info_locator IS NULL) = (latest_locator_fetch_at IS NULL))
);

CREATE TABLE debtor_info_fetch (
    iri TEXT NOT NULL,
    debtor_id BIGINT NOT NULL,
    is_locator_fetch BOOLEAN NOT NULL,
    is_discovery_fetch BOOLEAN NOT NULL,
    forced_iri TEXT, -- what to fetch instead
    host TEXT NOT NULL, -- of what is to be fetched; empty: that cannot be fetched
    recursion_level SMALLINT NOT NULL CHECK (recursion_level >= 0),
    inserted_at TIMESTAMPTZ NOT NULL,
    attempts_count SMALLINT NOT NULL DEFAULT 0 CHECK (attempts_count >= 0),
    latest_attempt_at TIMESTAMPTZ,
    latest_attempt_errorcode SMALLINT, -- the HTTP status, if there was one
    -- While somebody is at work on it, this is when others may be, should that one be gone by then.
    next_attempt_at TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (iri, debtor_id),
    CHECK ((attempts_count = 0) = (latest_attempt_at IS NULL)),
    CHECK (attempts_count > 0 OR latest_attempt_errorcode IS NULL)
);

CREATE INDEX debtor_info_fetch_due ON debtor_info_fetch (next_attempt_at);
