-- Never takes away what belongs to swpt_trade, too.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'alembic_version') THEN
        RAISE EXCEPTION 'the solver tables in the schema "%" were made by swpt_trade', current_schema();
    END IF;
END
$$;

DROP TABLE
    collector_account, turn, debtor_info, confirmed_debtor, currency_info, sell_offer, buy_offer, creditor_taking,
    creditor_giving, collector_collecting, collector_dispatching, collector_sending, collector_receiving;
