-- Each of these takes one update for each place in the arrays, none of which may be for the same account as another one.
-- An update that is not newer than what is stored changes nothing.

-- name: UpdateLedgers :execrows
-- Returns how many updates were newer.
INSERT INTO trading_policy AS stored (
    creditor_id, debtor_id, latest_ledger_update_id, latest_ledger_update_ts,
    account_id, creation_date, principal, last_transfer_number
)
SELECT *
FROM (
    SELECT
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@update_ids::BIGINT[]) AS update_id,
        unnest(@timestamps::TIMESTAMPTZ[]) AS ts,
        unnest(@account_ids::TEXT[]) AS account_id,
        unnest(@creation_dates::DATE[]) AS creation_date,
        unnest(@principals::BIGINT[]) AS principal,
        unnest(@last_transfer_numbers::BIGINT[]) AS last_transfer_number
) AS updates
ORDER BY creditor_id, debtor_id
ON CONFLICT (creditor_id, debtor_id) DO UPDATE SET
    latest_ledger_update_id = excluded.latest_ledger_update_id,
    latest_ledger_update_ts = excluded.latest_ledger_update_ts,
    account_id = CASE excluded.account_id WHEN '' THEN stored.account_id ELSE excluded.account_id END,
    account_id_is_obsolete = excluded.account_id = '',
    creation_date = excluded.creation_date,
    principal = excluded.principal,
    last_transfer_number = excluded.last_transfer_number
WHERE stored.latest_ledger_update_id < excluded.latest_ledger_update_id;

-- name: UpdatePolicies :execrows
-- Returns how many updates were newer.
INSERT INTO trading_policy AS stored (
    creditor_id, debtor_id, latest_policy_update_id, latest_policy_update_ts,
    policy_name, min_principal, max_principal, peg_debtor_id, peg_exchange_rate
)
SELECT
    creditor_id,
    debtor_id,
    update_id,
    ts,
    CASE WHEN has_name THEN policy_name END,
    min_principal,
    max_principal,
    CASE WHEN has_peg THEN peg_debtor_id END,
    CASE WHEN has_peg THEN peg_exchange_rate END
FROM (
    SELECT
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@update_ids::BIGINT[]) AS update_id,
        unnest(@timestamps::TIMESTAMPTZ[]) AS ts,
        unnest(@have_names::BOOLEAN[]) AS has_name,
        unnest(@policy_names::TEXT[]) AS policy_name,
        unnest(@min_principals::BIGINT[]) AS min_principal,
        unnest(@max_principals::BIGINT[]) AS max_principal,
        unnest(@have_pegs::BOOLEAN[]) AS has_peg,
        unnest(@peg_debtor_ids::BIGINT[]) AS peg_debtor_id,
        unnest(@peg_exchange_rates::FLOAT8[]) AS peg_exchange_rate
) AS updates
ORDER BY creditor_id, debtor_id
ON CONFLICT (creditor_id, debtor_id) DO UPDATE SET
    latest_policy_update_id = excluded.latest_policy_update_id,
    latest_policy_update_ts = excluded.latest_policy_update_ts,
    policy_name = excluded.policy_name,
    min_principal = excluded.min_principal,
    max_principal = excluded.max_principal,
    peg_debtor_id = excluded.peg_debtor_id,
    peg_exchange_rate = excluded.peg_exchange_rate
WHERE stored.latest_policy_update_id < excluded.latest_policy_update_id;

-- name: UpdateFlags :execrows
-- Returns how many updates were newer.
INSERT INTO trading_policy AS stored (
    creditor_id, debtor_id, latest_flags_update_id, latest_flags_update_ts, config_flags
)
SELECT *
FROM (
    SELECT
        unnest(@creditor_ids::BIGINT[]) AS creditor_id,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@update_ids::BIGINT[]) AS update_id,
        unnest(@timestamps::TIMESTAMPTZ[]) AS ts,
        unnest(@config_flags::INTEGER[]) AS config_flags
) AS updates
ORDER BY creditor_id, debtor_id
ON CONFLICT (creditor_id, debtor_id) DO UPDATE SET
    latest_flags_update_id = excluded.latest_flags_update_id,
    latest_flags_update_ts = excluded.latest_flags_update_ts,
    config_flags = excluded.config_flags
WHERE stored.latest_flags_update_id < excluded.latest_flags_update_id;
