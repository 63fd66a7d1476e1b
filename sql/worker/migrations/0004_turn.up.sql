-- The solver's turns, as far as this worker has followed them.
CREATE TABLE worker_turn (
    turn_id INTEGER PRIMARY KEY,
    started_at TIMESTAMPTZ NOT NULL,
    base_debtor_info_locator TEXT NOT NULL,
    base_debtor_id BIGINT NOT NULL,
    max_distance_to_base SMALLINT NOT NULL,
    min_trade_amount BIGINT NOT NULL,
    -- Phase 4 of the solver counts as phase 3 here.
    phase SMALLINT NOT NULL CHECK (phase BETWEEN 1 AND 3),
    phase_deadline TIMESTAMPTZ CHECK (phase = 3 OR phase_deadline IS NOT NULL),
    collection_started_at TIMESTAMPTZ CHECK (phase < 3 OR collection_started_at IS NOT NULL),
    collection_deadline TIMESTAMPTZ CHECK (phase < 2 OR collection_deadline IS NOT NULL),
    -- What this worker has done of the phase: 0 nothing yet, 10 all, 5 something in between.
    subphase SMALLINT NOT NULL DEFAULT 0 CHECK (subphase IN (0, 5, 10))
);

CREATE INDEX worker_turn_under_way ON worker_turn (turn_id) WHERE phase < 3 OR subphase < 10;

-- The collector accounts of all shards, with which offers can be made. They are all replaced in phase 2 of each turn.
CREATE TABLE active_collector (
    debtor_id BIGINT NOT NULL,
    collector_id BIGINT NOT NULL,
    account_id TEXT NOT NULL CHECK (account_id <> ''),

    PRIMARY KEY (debtor_id, collector_id)
);
