-- name: LockClaims :many
SELECT *
FROM debtor_locator_claim
WHERE debtor_id = ANY(@debtor_ids::BIGINT[])
ORDER BY debtor_id
FOR UPDATE;

-- name: SaveClaims :exec
-- Takes one claim for each place in the arrays, none of which may be of the same debtor as another one.
INSERT INTO debtor_locator_claim (
    debtor_id, debtor_info_locator, latest_locator_fetch_at, latest_discovery_fetch_at, forced_locator_refetch_at
)
SELECT
    debtor_id,
    CASE WHEN is_confirmed THEN debtor_info_locator END,
    CASE WHEN is_confirmed THEN latest_locator_fetch_at END,
    latest_discovery_fetch_at,
    CASE WHEN was_forced THEN forced_locator_refetch_at END
FROM (
    SELECT
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@are_confirmed::BOOLEAN[]) AS is_confirmed,
        unnest(@debtor_info_locators::TEXT[]) AS debtor_info_locator,
        unnest(@latest_locator_fetches::TIMESTAMPTZ[]) AS latest_locator_fetch_at,
        unnest(@latest_discovery_fetches::TIMESTAMPTZ[]) AS latest_discovery_fetch_at,
        unnest(@were_forced::BOOLEAN[]) AS was_forced,
        unnest(@forced_locator_refetches::TIMESTAMPTZ[]) AS forced_locator_refetch_at
) AS claims
ORDER BY debtor_id
ON CONFLICT (debtor_id) DO UPDATE SET
    debtor_info_locator = excluded.debtor_info_locator,
    latest_locator_fetch_at = excluded.latest_locator_fetch_at,
    latest_discovery_fetch_at = excluded.latest_discovery_fetch_at,
    forced_locator_refetch_at = excluded.forced_locator_refetch_at;

-- name: StoreDocuments :execrows
-- Takes one document for each place in the arrays, none of which may have the same locator as another one. Documents
-- that are not newer than what is stored change nothing. Returns how many were newer.
INSERT INTO debtor_info_document AS stored (
    debtor_info_locator, debtor_id, peg_debtor_info_locator, peg_debtor_id, peg_exchange_rate, will_not_change_until,
    fetched_at
)
SELECT
    debtor_info_locator,
    debtor_id,
    CASE WHEN has_peg THEN peg_debtor_info_locator END,
    CASE WHEN has_peg THEN peg_debtor_id END,
    CASE WHEN has_peg THEN peg_exchange_rate END,
    CASE WHEN is_frozen THEN will_not_change_until END,
    fetched_at
FROM (
    SELECT
        unnest(@debtor_info_locators::TEXT[]) AS debtor_info_locator,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@have_pegs::BOOLEAN[]) AS has_peg,
        unnest(@peg_debtor_info_locators::TEXT[]) AS peg_debtor_info_locator,
        unnest(@peg_debtor_ids::BIGINT[]) AS peg_debtor_id,
        unnest(@peg_exchange_rates::FLOAT8[]) AS peg_exchange_rate,
        unnest(@are_frozen::BOOLEAN[]) AS is_frozen,
        unnest(@will_not_change_until::TIMESTAMPTZ[]) AS will_not_change_until,
        unnest(@fetched_at::TIMESTAMPTZ[]) AS fetched_at
) AS documents
ORDER BY debtor_info_locator
ON CONFLICT (debtor_info_locator) DO UPDATE SET
    debtor_id = excluded.debtor_id,
    peg_debtor_info_locator = excluded.peg_debtor_info_locator,
    peg_debtor_id = excluded.peg_debtor_id,
    peg_exchange_rate = excluded.peg_exchange_rate,
    will_not_change_until = excluded.will_not_change_until,
    fetched_at = excluded.fetched_at
WHERE stored.fetched_at < excluded.fetched_at;

-- name: FindDocuments :many
SELECT *
FROM debtor_info_document
WHERE debtor_info_locator = ANY(@debtor_info_locators::TEXT[]);

-- name: RequestFetches :execrows
-- Takes one request for each place in the arrays, none of which may be for the same page and debtor as another one.
-- What has been requested before is merged with what is requested now, and is due when it has been before. A host
-- counts where the request has an IRI of its own to fetch. Returns how many requests have changed something.
INSERT INTO debtor_info_fetch AS stored (
    iri, debtor_id, is_locator_fetch, is_discovery_fetch, forced_iri, host, recursion_level, inserted_at,
    next_attempt_at
)
SELECT
    iri, debtor_id, is_locator_fetch, is_discovery_fetch, NULLIF(forced_iri, ''), host, recursion_level,
    @now::TIMESTAMPTZ, @now::TIMESTAMPTZ
FROM (
    SELECT
        unnest(@iris::TEXT[]) AS iri,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@are_locator_fetches::BOOLEAN[]) AS is_locator_fetch,
        unnest(@are_discovery_fetches::BOOLEAN[]) AS is_discovery_fetch,
        unnest(@forced_iris::TEXT[]) AS forced_iri, -- empty: none
        unnest(@hosts::TEXT[]) AS host,
        unnest(@recursion_levels::SMALLINT[]) AS recursion_level
) AS requests
ORDER BY iri, debtor_id
ON CONFLICT (iri, debtor_id) DO UPDATE SET
    is_locator_fetch = stored.is_locator_fetch OR excluded.is_locator_fetch,
    is_discovery_fetch = stored.is_discovery_fetch OR excluded.is_discovery_fetch,
    forced_iri = COALESCE(excluded.forced_iri, stored.forced_iri),
    host = CASE WHEN excluded.forced_iri IS NULL THEN stored.host ELSE excluded.host END,
    recursion_level = LEAST(stored.recursion_level, excluded.recursion_level)
WHERE
    excluded.is_locator_fetch AND NOT stored.is_locator_fetch
    OR excluded.is_discovery_fetch AND NOT stored.is_discovery_fetch
    OR excluded.forced_iri <> COALESCE(stored.forced_iri, '')
    OR excluded.recursion_level < stored.recursion_level;

-- name: LockDueFetches :many
-- Locks, and returns, fetches whose time has come, except those from some hosts, and passes over those locked by
-- others.
SELECT *
FROM debtor_info_fetch
WHERE next_attempt_at <= @now AND host <> ALL(@busy_hosts::TEXT[])
ORDER BY next_attempt_at
LIMIT @at_most::BIGINT
FOR UPDATE SKIP LOCKED;

-- name: PostponeFetches :exec
-- Has nobody look at fetches before an instant.
UPDATE debtor_info_fetch
SET next_attempt_at = @until
FROM (SELECT unnest(@iris::TEXT[]) AS iri, unnest(@debtor_ids::BIGINT[]) AS debtor_id) AS postponed
WHERE debtor_info_fetch.iri = postponed.iri AND debtor_info_fetch.debtor_id = postponed.debtor_id;

-- name: LockLeasedFetches :many
-- Locks, and returns, those of some fetches that nobody else has taken over.
SELECT debtor_info_fetch.*
FROM debtor_info_fetch
JOIN (
    SELECT
        unnest(@iris::TEXT[]) AS iri,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@leased_until::TIMESTAMPTZ[]) AS leased_until
) AS leased
    ON leased.iri = debtor_info_fetch.iri
    AND leased.debtor_id = debtor_info_fetch.debtor_id
    AND leased.leased_until = debtor_info_fetch.next_attempt_at
ORDER BY debtor_info_fetch.iri, debtor_info_fetch.debtor_id
FOR UPDATE OF debtor_info_fetch;

-- name: DeleteFetches :exec
DELETE FROM debtor_info_fetch
USING (SELECT unnest(@iris::TEXT[]) AS iri, unnest(@debtor_ids::BIGINT[]) AS debtor_id) AS done
WHERE debtor_info_fetch.iri = done.iri AND debtor_info_fetch.debtor_id = done.debtor_id;

-- name: RescheduleFetches :exec
-- Notes attempts that have failed. A status of zero stands for none.
UPDATE debtor_info_fetch
SET
    attempts_count = failed.attempts_count,
    latest_attempt_at = @now::TIMESTAMPTZ,
    latest_attempt_errorcode = NULLIF(failed.status, 0),
    next_attempt_at = failed.next_attempt_at
FROM (
    SELECT
        unnest(@iris::TEXT[]) AS iri,
        unnest(@debtor_ids::BIGINT[]) AS debtor_id,
        unnest(@attempts_counts::SMALLINT[]) AS attempts_count,
        unnest(@statuses::SMALLINT[]) AS status,
        unnest(@next_attempts::TIMESTAMPTZ[]) AS next_attempt_at
) AS failed
WHERE debtor_info_fetch.iri = failed.iri AND debtor_info_fetch.debtor_id = failed.debtor_id;

-- name: CountFetches :one
-- Counts fetches, up to a limit of each kind. Of those that are due, it tells since when the first one is.
SELECT
    (SELECT count(*) FROM (
        SELECT FROM debtor_info_fetch WHERE next_attempt_at <= @now::TIMESTAMPTZ LIMIT @at_most::BIGINT
    ) AS due) AS due,
    (SELECT count(*) FROM (
        SELECT FROM debtor_info_fetch WHERE next_attempt_at > @now::TIMESTAMPTZ LIMIT @at_most::BIGINT
    ) AS waiting) AS waiting,
    COALESCE(
        (
            SELECT next_attempt_at
            FROM debtor_info_fetch
            WHERE next_attempt_at <= @now::TIMESTAMPTZ
            ORDER BY next_attempt_at
            LIMIT 1
        ),
        @now::TIMESTAMPTZ
    )::TIMESTAMPTZ AS due_since;

-- name: CountDocuments :one
-- Counts documents by how long ago they were fetched: since fresh_since; since frozen_since, and they are not expected
-- to have changed; or neither.
SELECT
    count(*) FILTER (WHERE fetched_at >= @fresh_since::TIMESTAMPTZ) AS fresh,
    count(*) FILTER (
        WHERE
            fetched_at < @fresh_since::TIMESTAMPTZ
            AND fetched_at >= @frozen_since::TIMESTAMPTZ
            AND will_not_change_until > @now::TIMESTAMPTZ
    ) AS frozen,
    count(*) AS stored
FROM debtor_info_document;

-- name: CountClaims :one
SELECT count(debtor_info_locator) AS confirmed, count(*) AS stored
FROM debtor_locator_claim;

-- name: ListClaims :many
SELECT *
FROM debtor_locator_claim;

-- name: ListDocuments :many
SELECT *
FROM debtor_info_document;

-- name: ListFetches :many
SELECT *
FROM debtor_info_fetch;

-- name: CountActiveCollectors :many
SELECT debtor_id, count(*) AS collectors
FROM active_collector
GROUP BY debtor_id;

-- name: NewestBaseCurrency :one
-- Returns what the newest turn that this worker knows of is about. There may be none.
SELECT base_debtor_info_locator, base_debtor_id, max_distance_to_base
FROM worker_turn
ORDER BY turn_id DESC
LIMIT 1;
