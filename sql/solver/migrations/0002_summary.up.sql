-- What the solver keeps for itself and for operators. These tables are no part of the contract: swpt_trade does not
-- know them, and the turns of a swpt_trade solver leave no rows here.

-- What has come of each turn, written when its results are published.
CREATE TABLE trade_turn_summary (
    turn_id INTEGER PRIMARY KEY,
    published_at TIMESTAMPTZ NOT NULL,
    -- When the workers had taken all results over.
    finished_at TIMESTAMPTZ,
    -- Why the turn had to go on without results. NULL: nothing went wrong, though there may have been nothing to trade.
    failure VARCHAR,
    -- Currencies that were reported, and those of them that were confirmed, had a price, were both, or were traded.
    currencies BIGINT NOT NULL,
    confirmed_currencies BIGINT NOT NULL,
    priced_currencies BIGINT NOT NULL,
    tradable_currencies BIGINT NOT NULL,
    traded_currencies BIGINT NOT NULL,
    collectors BIGINT NOT NULL,
    sell_offers BIGINT NOT NULL,
    buy_offers BIGINT NOT NULL,
    -- Those of the offers above that made no sense.
    bad_offers BIGINT NOT NULL,
    -- Traders with an offer that could be considered, and those of them who trade.
    traders BIGINT NOT NULL,
    served_traders BIGINT NOT NULL,
    -- In tokens of the base currency.
    offered_value DOUBLE PRECISION NOT NULL,
    wanted_value DOUBLE PRECISION NOT NULL,
    cleared_value DOUBLE PRECISION NOT NULL,
    takings BIGINT NOT NULL,
    givings BIGINT NOT NULL,
    transfers BIGINT NOT NULL,
    -- How long it took to read the offers, to clear the market, and to write the results (without the commit).
    read_seconds DOUBLE PRECISION NOT NULL,
    clear_seconds DOUBLE PRECISION NOT NULL,
    write_seconds DOUBLE PRECISION NOT NULL
);

-- Attempts to clear a market that have begun, and of whose end nobody knows. A market may kill each process that tries
-- to clear it, by the memory that it takes for example. That must not go on for ever.
CREATE TABLE trade_clearing_attempt (
    turn_id INTEGER NOT NULL,
    -- Chosen at random.
    attempt_id BIGINT NOT NULL,
    begun_at TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (turn_id, attempt_id)
);
